"""`camvid` reads its archive, with the official splits."""

import os
import pathlib

import numpy as np
import pytest

from keras_univrep.datasets import camvid
from tests.datasets.dense_sets import RNG, write_archive

REAL = os.environ.get("KERAS_UNIVREP_DATA", "")
FILE = "camvid/camvid_180x240.zip"
SPLITS = {"train": ["a_1", "b_2"], "val": ["b_1"], "test": ["c_1", "c_2"]}

needs_real_set = pytest.mark.skipif(
    not (pathlib.Path(REAL or "absent") / FILE).is_file(),
    reason=f"KERAS_UNIVREP_DATA has no {FILE}",
)


def files(top: int = 12) -> dict[str, np.ndarray]:
    made = {}
    for split, names in SPLITS.items():
        for name in names:
            made[f"{split}/rgb/{name}.jpg"] = RNG.integers(0, 256, (180, 240, 3)).astype("uint8")
            made[f"{split}/seg/{name}.png"] = RNG.integers(0, top, (180, 240)).astype("uint8")
    return made


def test_splits_labels_and_padding(tmp_path: pathlib.Path) -> None:
    made = files()
    write_archive(tmp_path / FILE, made)
    domain = camvid(tmp_path)
    assert domain.channels == {"segmentation": 11}
    assert [domain.size(split) for split in ("train", "validation", "test")] == [2, 1, 2]
    images, targets = domain.arrays("validation")
    np.testing.assert_array_equal(images[0], made["val/rgb/b_1.jpg"])
    labels = made["val/seg/b_1.png"].astype(int)
    expected = np.where(labels == 11, -1, labels)
    np.testing.assert_array_equal(targets["segmentation"][0], expected)
    padded = camvid(tmp_path, pad_to=(192, 256))
    assert padded.image_shape == (192, 256, 3)
    images, targets = padded.arrays("validation")
    np.testing.assert_array_equal(targets["segmentation"][0, :180, :240], expected)
    assert (targets["segmentation"][0, 180:] == -1).all() and not images[0, :, 240:].any()


def test_other_labels_and_smaller_padding_are_refused(tmp_path: pathlib.Path) -> None:
    write_archive(tmp_path / FILE, files(top=14))
    with pytest.raises(ValueError, match=r"in \[0, 11\]. Received: up to 13"):
        camvid(tmp_path).arrays("train")
    with pytest.raises(ValueError, match="`pad_to` must be at least the size"):
        camvid(tmp_path, pad_to=(160, 256))


@needs_real_set
def test_the_real_set_has_its_official_sizes() -> None:
    domain = camvid(REAL)
    assert [domain.size(s) for s in ("train", "validation", "test")] == [367, 101, 233]
    labels = domain.arrays("train")[1]["segmentation"]
    assert np.unique(labels).tolist() == list(range(-1, 11))
    assert 0.95 < np.mean(labels >= 0) < 0.97
