"""`nyuv2` reads the files of Liu et al. and the builder of TensorFlow Datasets."""

import pathlib
import shutil

import numpy as np
import pytest

from keras_univrep.datasets import nyuv2
from tests.datasets.dense_sets import write_liu

tfds = pytest.importorskip("tensorflow_datasets")

SIZE = (6, 8)
FOLDERS = {"segmentation": "label", "depth": "depth", "normals": "normal"}


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    write_liu(tmp_path, {"train": 45, "val": 3}, FOLDERS, SIZE)
    return tmp_path


def test_files_are_read_in_the_order_of_their_numbers(tmp_path: pathlib.Path) -> None:
    written = write_liu(tmp_path, {"train": 12, "val": 3}, FOLDERS, SIZE)
    domain = nyuv2(tmp_path, image_size=SIZE)
    assert domain.channels == {"segmentation": 13, "depth": 1, "normals": 3}
    for split, name in (("train", "train"), ("test", "val")):
        images, targets = domain.arrays(split)
        np.testing.assert_array_equal(images, written[name]["image"])
        for task in FOLDERS:
            np.testing.assert_allclose(targets[task], written[name][task], atol=1e-6)


def test_validation_is_blocks_of_neighbouring_files(folder: pathlib.Path) -> None:
    domain = nyuv2(folder, image_size=SIZE, tasks=["depth"], validation=25)
    sizes = {split: domain.size(split) for split in domain.splits}
    # Blocks of 20, 20 and 5.
    assert sizes == {"train": 20, "test": 3, "validation": 25, "train+validation": 45}
    whole = [image.tobytes() for image in domain.arrays("train+validation")[0]]
    held = [whole.index(image.tobytes()) for image in domain.arrays("validation")[0]]
    assert held in ([*range(20), *range(40, 45)], list(range(20, 45)))
    assert set(nyuv2(folder, image_size=SIZE).splits) == {"train", "test"}


def test_folders_of_tasks_that_are_not_opened_may_be_missing(folder: pathlib.Path) -> None:
    shutil.rmtree(folder / "train" / "normal")
    assert nyuv2(folder, image_size=SIZE, tasks=["depth"]).size("train") == 45
    with pytest.raises(FileNotFoundError, match="folder 'train/normal'"):
        nyuv2(folder, image_size=SIZE)


def damage(change: str, folder: pathlib.Path) -> None:
    train = folder / "train"
    path = train / "label" / "3.npy"
    if change == "missing":
        path.unlink()
    elif change == "copy":
        shutil.copy(path, path.with_name("3 (1).npy"))
    elif change == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    elif change == "size":
        np.save(path, np.zeros((6, 9)))
    elif change == "label":
        np.save(path, np.full(SIZE, 13.0))
    elif change == "fraction":
        np.save(path, np.full(SIZE, 0.5))
    elif change == "duplicate":
        shutil.copy(train / "image" / "3.npy", train / "image" / "7.npy")
    elif change == "image":
        np.save(train / "image" / "3.npy", np.full((*SIZE, 3), 200.0))
    elif change == "depth":
        np.save(train / "depth" / "3.npy", np.full((*SIZE, 1), -1.0))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("missing", FileNotFoundError, r"label' must hold a file of each number.*no \[3\]"),
        ("copy", ValueError, r"named by their number.*3 \(1\).npy"),
        ("truncated", ValueError, r"3.npy' must be a whole NumPy file"),
        ("size", ValueError, r"shape \(6, 8\).*\(6, 9\)"),
        ("label", ValueError, r"in \[0, 13\), or -1.*Received: 13.0 in 3.npy"),
        ("fraction", ValueError, r"whole numbers.*0.5"),
        ("duplicate", ValueError, r"no image twice.*3.npy and 7.npy"),
        ("image", ValueError, r"floats in \[0, 1\] or uint8.*200.0 in 3.npy"),
        ("depth", ValueError, r"at least 0.*Received: -1.0 in image 3"),
    ],
)
def test_damaged_files_are_refused(
    change: str, error: type[Exception], message: str, folder: pathlib.Path
) -> None:
    damage(change, folder)
    with pytest.raises(error, match=message):
        nyuv2(folder, image_size=SIZE).arrays("train")


def test_the_builder_gives_resized_images_and_depth() -> None:
    with tfds.testing.mock_data(num_examples=2):
        domain = nyuv2(layout="tfds", image_size=(24, 32), splits={"train": "train[:2]"})
        images, targets = domain.arrays("train")
        example = next(iter(tfds.load("nyu_depth_v2", split="train").as_numpy_iterator()))
    assert images.shape == (2, 24, 32, 3) and images.dtype == np.uint8
    assert list(targets) == ["depth"] and targets["depth"].shape == (2, 24, 32, 1)
    # The nearest pixel of a block of 20x20.
    blocks = example["depth"].reshape(24, 20, 32, 20).astype("float32")
    assert (blocks.min((1, 3)) <= targets["depth"][0, ..., 0]).all()
    assert np.isin(targets["depth"][0], example["depth"].astype("float32")).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "mat"}, "`layout` must be one of"),
        ({"tasks": ["edges"]}, "`tasks` must hold some of"),
        ({"layout": "tfds", "tasks": ["normals"]}, "`tasks` must hold some of"),
        ({"layout": "tfds", "validation": 9}, "`validation` must be 0"),
        ({"splits": {"train": "train"}}, "`splits` must be None"),
        ({"validation": 2}, "`validation` must be at least 20|blocks of 20"),
        ({"image_size": (5, 8)}, r"shape \(5, 8, 3\)"),
    ],
)
def test_wrong_arguments_are_refused(
    folder: pathlib.Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        nyuv2(folder, **({"image_size": SIZE} | changes)).arrays("train")  # type: ignore[arg-type]


def test_missing_folders_and_builders_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match="`data_dir` must be the folder"):
        nyuv2(None)
    with pytest.raises(FileNotFoundError, match="must have been prepared in `data_dir`"):
        nyuv2(tmp_path, layout="tfds").arrays("train")
