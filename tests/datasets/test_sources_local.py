"""`sources_local` opens the sets of four tasks, generated or real."""

import os
import pathlib
import warnings
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import Source, SourceSequence, sources_local
from tests.datasets.dense_sets import write_archive
from tests.datasets.source_sets import detection_files, write_source_sets

REAL = pathlib.Path(os.environ.get("KERAS_UNIVREP_DATA") or "absent")
SIZES = {
    "coco128": [100, 28, 128],
    "pennfudan": [110, 20, 40],
    "bccd": [205, 87, 72],
}
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return write_source_sets(tmp_path_factory.mktemp("sets"))


def opened(folder: pathlib.Path, **options: Any) -> dict[str, dict[str, Source]]:
    return sources_local(folder, **({"image_size": 16, "cache_dir": folder / "cache"} | options))


def test_all_tasks_and_their_sources_are_opened(folder: pathlib.Path) -> None:
    sources = opened(folder)
    assert {task: list(row) for task, row in sources.items()} == {
        "classification": ["tiny_imagenet", "cifar100", "flowers17"],
        "detection": ["coco128", "pennfudan", "bccd"],
        "segmentation": ["camvid", "nyuv2"],
        "depth": ["nyuv2"],
    }
    for task, row in sources.items():
        for source in row.values():
            assert source.kind == task and source.image_shape == (16, 16, 3)
            assert source.licence and source.source and source.citation
    # A batch of every source of every split, as a network takes it.
    for split in SPLITS:
        images, targets = SourceSequence(sources, split, 2, training=split == "train")[0]
        assert images["detection"]["bccd"].shape[1:] == (16, 16, 3)
        assert targets["segmentation"]["camvid"].shape[1:] == (16, 16)
        assert targets["depth"]["nyuv2"].max() <= 4 and targets["depth"]["nyuv2"].shape[-1] == 1


def test_boxes_are_those_of_the_files(folder: pathlib.Path) -> None:
    row = opened(folder, tasks=["detection"])["detection"]
    assert row["bccd"].class_names == ("RBC", "WBC", "Platelets")
    targets = row["bccd"].arrays("train")[1]
    assert targets["labels"].tolist() == [[0, 2]] * 3
    # Of 24 x 32 pixels.
    expected = np.array([[1, 2, 11.5, 12], [3, 3, 8, 9]]) * (1 / 2, 2 / 3, 1 / 2, 2 / 3)
    np.testing.assert_allclose(targets["boxes"][0], expected, rtol=1e-6)
    coco = row["coco128"]
    assert coco.class_names == ("person", "traffic light") and coco.max_boxes == 2
    images, targets = coco.arrays("test")
    # The first has no boxes; 1 is the centre's half of the image, 0 a column at its left.
    assert targets["labels"].tolist() == [[-1, -1], [1, 0], [1, 0]]
    np.testing.assert_allclose(targets["boxes"][1, 0], [4, 4, 12, 12], atol=1e-5)
    np.testing.assert_allclose(targets["boxes"][1, 1], [2.88, 0, 5.12, 16], atol=1e-5)
    targets = row["pennfudan"].arrays("train")[1]
    expected = np.array([2, 4, 10, 20]) * (16 / 30, 16 / 24, 16 / 30, 16 / 24)
    np.testing.assert_allclose(targets["boxes"][0, 0], expected, rtol=1e-6)


def test_padded_images_keep_their_proportions(folder: pathlib.Path) -> None:
    source = opened(folder, tasks=["detection"], names=["bccd"], resize="pad")["detection"]["bccd"]
    images, targets = source.arrays("test")
    assert not images[:, 12:].any() and images[:, 11].any()
    np.testing.assert_allclose(targets["boxes"][0, 0], [0.5, 1, 5.75, 6], rtol=1e-6)


def test_the_largest_boxes_stay(folder: pathlib.Path) -> None:
    with pytest.warns(UserWarning, match="split 'train' of source 'bccd'.*3 smaller ones"):
        source = opened(folder, names=["bccd"], max_boxes=1)["detection"]["bccd"]
        assert source.arrays("train")[1]["labels"].tolist() == [[0]] * 3


def test_no_image_is_in_two_splits(folder: pathlib.Path) -> None:
    for source in opened(folder, tasks=["detection"])["detection"].values():
        rows = [image.tobytes() for split in SPLITS for image in source.arrays(split)[0]]
        assert len(set(rows)) == len(rows)


def test_a_second_opening_reads_the_cache(folder: pathlib.Path) -> None:
    first = opened(folder, names=["bccd"])["detection"]["bccd"].arrays("train")[0]
    mapped = opened(folder, names=["bccd"])["detection"]["bccd"].arrays("train")[0]
    np.testing.assert_array_equal(first, mapped)
    assert isinstance(mapped.base, np.memmap)


def test_damaged_sets_are_refused_by_name(tmp_path: pathlib.Path) -> None:
    files = detection_files("bccd")
    broken = write_archive(tmp_path / "bccd/bccd_320.zip", files | {"images/B1.jpg": b"no image"})
    source = opened(tmp_path, names=["bccd"])["detection"]["bccd"]
    with pytest.raises(ValueError, match="'images/B1.jpg' of source 'bccd' .* whole image file"):
        source.arrays("train")
    del files["annotations.json"]
    write_archive(broken, files)
    with pytest.raises(ValueError, match="must hold the set 'bccd'. Received: KeyError"):
        opened(tmp_path, names=["bccd"])
    with pytest.raises(FileNotFoundError, match="pennfudan_half.zip"):
        opened(tmp_path, names=["pennfudan"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["pose"]}, "`tasks` must hold some of"),
        ({"tasks": "depth"}, "`tasks` must hold some of"),
        ({"names": ["imagenet"]}, "`names` must hold some of"),
        ({"tasks": ["depth"], "names": ["bccd"]}, r"sources of \['depth'\]"),
        ({"image_size": 4}, "`image_size` must be a side"),
        ({"resize": "crop"}, "`resize` must be one of"),
        ({"max_boxes": 0}, "`max_boxes` must be None or at least 1"),
    ],
)
def test_wrong_arguments_are_refused(
    tmp_path: pathlib.Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        opened(tmp_path, **options)


@pytest.mark.skipif(
    not (REAL / "coco128").is_dir(), reason="KERAS_UNIVREP_DATA has no detection sets"
)
@pytest.mark.parametrize("name", list(SIZES))
def test_the_real_detection_sets_have_their_sizes(name: str, tmp_path: pathlib.Path) -> None:
    with warnings.catch_warnings():
        # Two boxes of bccd have no area.
        warnings.simplefilter("ignore")
        sources = sources_local(REAL, 32, names=[name], cache_dir=tmp_path)
        source = sources["detection"][name]
        assert [source.size(split) for split in SPLITS] == SIZES[name]
    counts = {"coco128": 1827, "pennfudan": 423, "bccd": 4886}
    found = sum((source.arrays(split)[1]["labels"] >= 0).sum() for split in SPLITS)
    assert found == counts[name]
