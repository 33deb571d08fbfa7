"""`nyu_local` reads its archive, holds scenes out whole and derives normals."""

import os
import pathlib
import warnings

import numpy as np
import pytest

from keras_univrep.datasets import dense_pipeline, nyu_local
from tests.datasets.dense_sets import encoded, nyu_files, write_archive

REAL = os.environ.get("KERAS_UNIVREP_DATA", "")
FILE = "nyuv2/nyuv2_144x192_full.zip"
TRAIN, TEST = [1, 2, 3, 5, 6, 9], [4, 7, 8]

needs_real_set = pytest.mark.skipif(
    not (pathlib.Path(REAL or "absent") / FILE).is_file(),
    reason=f"KERAS_UNIVREP_DATA has no {FILE}",
)


@pytest.fixture(scope="module")
def files() -> dict[str, np.ndarray]:
    return nyu_files(TRAIN, TEST)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, files: dict[str, np.ndarray]) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("sets")
    write_archive(folder / FILE, files)
    return folder


def test_files_become_images_labels_depth_and_normals(
    folder: pathlib.Path, files: dict[str, np.ndarray], tmp_path: pathlib.Path
) -> None:
    domain = nyu_local(folder, validation=2, cache_dir=tmp_path)
    assert domain.image_shape == (144, 192, 3) and len(domain.class_names["segmentation"]) == 13
    assert "derived" in domain.description
    images, targets = domain.arrays("test")
    for row, number in enumerate(TEST):
        np.testing.assert_array_equal(images[row], files[f"test/rgb/{number:04d}.jpg"])
        labels = files[f"test/seg13/{number:04d}.png"].astype(int)
        np.testing.assert_array_equal(
            targets["segmentation"][row], np.where(labels == 255, -1, labels)
        )
        metres = files[f"test/depth/{number:04d}.png"] / 25.5
        np.testing.assert_allclose(targets["depth"][row, ..., 0], metres, rtol=1e-6)
    # Depth grows to the right and not downwards: the surface looks right and not up or down.
    inner = targets["normals"][:, 20:-20, 20:-20]
    assert (inner[..., 0] > 0.1).all() and np.abs(inner[..., 1]).max() < 0.2
    assert list(tmp_path.iterdir())
    again = nyu_local(folder, validation=2, cache_dir=tmp_path).arrays("test")[1]["normals"]
    np.testing.assert_array_equal(again, targets["normals"])


def test_validation_takes_whole_runs_of_the_training_images(
    folder: pathlib.Path, files: dict[str, np.ndarray]
) -> None:
    truth = {files[f"train/rgb/{n:04d}.jpg"].tobytes(): n for n in TRAIN}
    domain = nyu_local(folder, tasks=["depth"], validation=2)
    numbers = {
        split: [truth[image.tobytes()] for image in domain.arrays(split)[0]]
        for split in ("train", "validation", "train+validation")
    }
    # Test images cut the training images into runs of three, two and one.
    assert numbers["validation"] in ([5, 6], [9])
    assert sorted(numbers["train"] + numbers["validation"]) == TRAIN
    assert numbers["train+validation"] == TRAIN
    assert set(nyu_local(folder, validation=0).splits) == {"train", "test"}


def test_tasks_are_read_as_chosen_and_feed_a_pipeline(folder: pathlib.Path) -> None:
    domain = nyu_local(folder, tasks=("segmentation",), validation=0)
    assert list(domain.tasks) == ["segmentation"]
    images, targets = next(iter(dense_pipeline(domain, "train", 2, training=True)))
    assert tuple(images.shape) == (2, 144, 192, 3) and list(targets) == ["segmentation"]
    depth = nyu_local(folder, tasks=["depth"], validation=0)
    assert depth.class_names == {} and depth.channels == {"depth": 1}


def test_the_larger_images_have_a_file_of_their_own(tmp_path: pathlib.Path) -> None:
    files = nyu_files([5, 23], [4], (288, 384))
    write_archive(tmp_path / "nyuv2/nyuv2_288x384_40_20.zip", files)
    domain = nyu_local(tmp_path, (288, 384), tasks=["depth"])
    assert domain.image_shape == (288, 384, 3) and domain.size("train") == 2
    assert list(domain.splits) == ["train", "test"]


def broken(change: str, files: dict[str, np.ndarray]) -> dict[str, bytes | np.ndarray]:
    """Files of which one is not what it must be."""
    made: dict[str, bytes | np.ndarray] = dict(files)
    if change == "missing":
        del made["train/depth/0003.png"]
    elif change == "size":
        made["train/depth/0003.png"] = np.zeros((144, 191), "uint8")
    elif change == "label":
        made["train/seg13/0003.png"] = np.full((144, 192), 13, "uint8")
    elif change == "truncated":
        made["train/rgb/0003.jpg"] = encoded(files["train/rgb/0003.jpg"])[:-200]
    elif change == "duplicate":
        made["test/rgb/0004.jpg"] = made["train/rgb/0003.jpg"]
    elif change == "name":
        for kind, suffix in (("rgb", "jpg"), ("depth", "png"), ("seg13", "png")):
            made[f"train/{kind}/copy.{suffix}"] = made.pop(f"train/{kind}/0003.{suffix}")
    elif change == "empty":
        made = {name: content for name, content in made.items() if name.startswith("train")}
    return made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", r"one file of each name .*no \['0003'\] in 'train/depth'"),
        ("size", r"shape \(144, 192\).*\(144, 191\) in 'train/depth/0003.png'"),
        ("label", r"Labels of .* in \[0, 13\), or 255.*Received: 13 in image '0003'"),
        ("truncated", r"'train/rgb/0003.jpg' of .* must be a whole image file"),
        ("duplicate", r"hold no image twice.*0003.jpg.*0004.jpg"),
        ("name", r"named by their number.*'copy'"),
        ("empty", r"hold images in 'test/rgb'"),
    ],
)
def test_archives_that_are_not_the_set_are_refused(
    change: str, message: str, files: dict[str, np.ndarray], tmp_path: pathlib.Path
) -> None:
    write_archive(tmp_path / FILE, broken(change, files))
    with pytest.raises(ValueError, match=message):
        nyu_local(tmp_path, validation=0, tasks=["segmentation", "depth"]).arrays("train")


def test_a_file_that_is_twice_in_the_archive_is_refused(tmp_path: pathlib.Path) -> None:
    import zipfile

    path = write_archive(tmp_path / FILE, nyu_files([1], [2]))
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as file:
        warnings.simplefilter("ignore")
        file.writestr("train/rgb/0001.jpg", b"other")
    with pytest.raises(ValueError, match=r"each file once.*'train/rgb/0001.jpg' twice"):
        nyu_local(tmp_path)


def test_missing_and_cut_archives_are_refused(
    folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match="no file '.*nyuv2_144x192_full.zip'"):
        nyu_local(tmp_path)
    monkeypatch.delenv("KERAS_UNIVREP_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="`data_dir`, or the environment variable"):
        nyu_local()
    whole = (folder / FILE).read_bytes()
    (tmp_path / "nyuv2").mkdir()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="must be a whole zip file"):
        nyu_local(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": (100, 100)}, "`image_size` must be one of"),
        ({"tasks": ["edges"]}, "`tasks` must hold some of"),
        ({"validation": -1}, "`count` must be at least 0"),
        ({"validation": 6}, "below the number of images, 6"),
    ],
)
def test_wrong_arguments_are_refused(
    folder: pathlib.Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        nyu_local(folder, **changes)  # type: ignore[arg-type]


@needs_real_set
def test_the_real_set_has_its_official_sizes_and_depth() -> None:
    domain = nyu_local(REAL, tasks=["segmentation", "depth"])
    assert [domain.size(s) for s in ("train", "validation", "test")] == [695, 100, 654]
    images, targets = domain.arrays("test")
    assert images.shape == (654, 144, 192, 3)
    assert np.unique(targets["segmentation"]).tolist() == list(range(-1, 13))
    assert 0.82 < np.mean(targets["segmentation"] >= 0) < 0.84
    assert targets["depth"].min() > 0.5 and 2.7 < targets["depth"].mean() < 2.75
