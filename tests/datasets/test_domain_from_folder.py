"""`domain_from_folder` reads, resizes and divides a user's images."""

import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from keras_univrep.datasets import domain_from_folder

RNG = np.random.default_rng(0)


def write(folder: pathlib.Path, count: int, size: tuple[int, int] = (8, 8)) -> list[np.ndarray]:
    """Writes `count` random RGB images 0.png, 1.png, ... and returns their pixels."""
    folder.mkdir(parents=True)
    pixels = [RNG.integers(0, 256, (*size, 3)).astype("uint8") for _ in range(count)]
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i:02d}.png")
    return pixels


def rows(images: np.ndarray) -> set[bytes]:
    return {image.tobytes() for image in images}


def test_divides_each_class_by_the_fractions(tmp_path: pathlib.Path) -> None:
    cats, dogs = write(tmp_path / "cat", 20), write(tmp_path / "dog", 10)
    domain = domain_from_folder(
        tmp_path, 8, validation_fraction=0.2, test_fraction=0.1, name="pets"
    )
    assert domain.name == "pets" and domain.class_names == ("cat", "dog")
    counts = {split: np.bincount(domain.arrays(split)[1]).tolist() for split in domain.splits}
    assert counts == {"train": [14, 7], "validation": [4, 2], "test": [2, 1]}
    parts = [rows(domain.arrays(split)[0]) for split in domain.splits]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 30
    assert set.union(*parts) == rows(np.stack(cats + dogs))
    labels = {image.tobytes(): 0 for image in cats} | {image.tobytes(): 1 for image in dogs}
    for images, found in domain.splits.values():
        assert [labels[image.tobytes()] for image in images] == found.tolist()


def test_the_division_follows_the_seed(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "a", 20)
    tests = [rows(domain_from_folder(tmp_path, 8, seed=s).arrays("test")[0]) for s in (0, 0, 1)]
    assert tests[0] == tests[1] != tests[2]


def test_keeps_split_folders(tmp_path: pathlib.Path) -> None:
    a, b = write(tmp_path / "train" / "a", 3), write(tmp_path / "train" / "b", 2)
    held_out = write(tmp_path / "test" / "b", 1)
    domain = domain_from_folder(tmp_path, 8)
    assert list(domain.splits) == ["train", "test"]
    np.testing.assert_array_equal(domain.arrays("train")[0], np.stack(a + b))
    assert domain.arrays("train")[1].tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_array_equal(domain.arrays("test")[0], np.stack(held_out))
    assert domain.arrays("test")[1].tolist() == [1]


def test_cuts_the_central_square_and_averages_areas(tmp_path: pathlib.Path) -> None:
    (pixels,) = write(tmp_path / "train" / "a", 1, size=(8, 12))
    image = domain_from_folder(tmp_path, 4).arrays("train")[0][0]
    blocks = pixels[:, 2:10].reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(image, blocks, atol=1)


def test_grey_images_become_rgb(tmp_path: pathlib.Path) -> None:
    (tmp_path / "train" / "a").mkdir(parents=True)
    grey = RNG.integers(0, 256, (4, 4)).astype("uint8")
    Image.fromarray(grey).save(tmp_path / "train" / "a" / "x.png")
    image = domain_from_folder(tmp_path, 4).arrays("train")[0][0]
    np.testing.assert_array_equal(image, np.stack([grey] * 3, axis=-1))


def test_names_the_file_that_is_no_image(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "a", 5)
    (tmp_path / "a" / "broken.png").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="broken.png"):
        domain_from_folder(tmp_path)


def test_asks_for_enough_images_a_class(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "a", 2)
    with pytest.raises(ValueError, match="class 'a' with 2"):
        domain_from_folder(tmp_path)


def test_asks_for_classes_with_images(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="one folder per class"):
        domain_from_folder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"without images: \['empty'\]"):
        domain_from_folder(tmp_path)


def test_test_classes_must_be_trained(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "train" / "a", 1)
    write(tmp_path / "test" / "b", 1)
    with pytest.raises(ValueError, match=r"only in test: \['b'\]"):
        domain_from_folder(tmp_path)


def test_asks_for_a_folder_and_for_fractions(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        domain_from_folder(tmp_path / "absent")
    with pytest.raises(ValueError, match="sum to less than 1"):
        domain_from_folder(tmp_path, validation_fraction=0.5, test_fraction=0.5)


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    target.write_bytes(source.read_bytes())


@pytest.mark.parametrize("split", ["", "train"])
def test_refuses_a_copy_in_another_class(tmp_path: pathlib.Path, split: str) -> None:
    write(tmp_path / split / "cat", 5)
    write(tmp_path / split / "dog", 5)
    copy(tmp_path / split / "cat" / "02.png", tmp_path / split / "dog" / "x.png")
    with pytest.raises(ValueError, match=r"1 copies in another class.*cat.02.png' and .*dog.x.png"):
        domain_from_folder(tmp_path, 8)


def test_refuses_a_copy_in_another_class_of_another_split(tmp_path: pathlib.Path) -> None:
    for name in ("cat", "dog"):
        write(tmp_path / "train" / name, 2)
        write(tmp_path / "test" / name, 2)
    copy(tmp_path / "train" / "cat" / "00.png", tmp_path / "test" / "dog" / "x.png")
    with pytest.raises(ValueError, match="An image must be in one class"):
        domain_from_folder(tmp_path, 8)


def test_leaves_out_copies_in_one_class_with_a_warning(tmp_path: pathlib.Path) -> None:
    images = write(tmp_path / "cat", 10)
    expected = domain_from_folder(tmp_path, 8)
    for name in ("zz.png", "zy.png"):
        copy(tmp_path / "cat" / "03.png", tmp_path / "cat" / name)
    with pytest.warns(UserWarning, match=r"2 images are left out.*zy.png") as record:
        domain = domain_from_folder(tmp_path, 8)
    assert record[0].filename == __file__
    assert sum(map(domain.size, domain.splits)) == len(images)
    for split in domain.splits:
        np.testing.assert_array_equal(domain.arrays(split)[0], expected.arrays(split)[0])


def test_a_test_image_is_not_trained_on(tmp_path: pathlib.Path) -> None:
    for split in ("train", "validation", "test"):
        write(tmp_path / split / "cat", 3)
    copy(tmp_path / "test" / "cat" / "00.png", tmp_path / "train" / "cat" / "a.png")
    copy(tmp_path / "test" / "cat" / "00.png", tmp_path / "validation" / "cat" / "b.png")
    copy(tmp_path / "train" / "cat" / "01.png", tmp_path / "train" / "cat" / "c.png")
    with pytest.warns(UserWarning, match=r"2 images are left out, of which a later split"):
        domain = domain_from_folder(tmp_path, 8)
    assert {split: domain.size(split) for split in domain.splits} == {
        "train": 4,
        "validation": 3,
        "test": 3,
    }
    assert not rows(domain.arrays("train")[0]) & rows(domain.arrays("test")[0])


def test_asks_for_training_images_that_are_no_copies(tmp_path: pathlib.Path) -> None:
    write(tmp_path / "train" / "cat", 1)
    write(tmp_path / "test" / "cat", 1)
    copy(tmp_path / "train" / "cat" / "00.png", tmp_path / "test" / "cat" / "x.png")
    with (
        pytest.warns(UserWarning, match="1 images are left out"),
        pytest.raises(ValueError, match="must hold images that no other split holds"),
    ):
        domain_from_folder(tmp_path, 8)


@pytest.mark.parametrize("size", [1, 2])
def test_a_class_of_one_image_needs_no_other_split(tmp_path: pathlib.Path, size: int) -> None:
    write(tmp_path / "a", 1)
    write(tmp_path / "b", size)
    domain = domain_from_folder(tmp_path, 8, validation_fraction=0, test_fraction=0)
    assert domain.size("train") == 1 + size and list(domain.splits) == ["train"]
    with pytest.raises(ValueError, match="class 'a' with 1"):
        domain_from_folder(tmp_path, 8, validation_fraction=0)


def test_names_the_extra_without_pillow(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", 5)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install keras_univrep\[data\]"):
        domain_from_folder(tmp_path)
