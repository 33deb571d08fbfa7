"""A `DenseDomain` holds what its tasks say, and refuses what contradicts them."""

import numpy as np
import pytest

from keras_univrep.datasets import DenseDomain
from keras_univrep.datasets.lazy_splits import LazySplits
from tests.datasets.dense_sets import KINDS, toy_domain, toy_maps

IMAGES = np.zeros((2, 6, 8, 3), "uint8")
WHOLE = np.ones((2, 6, 8, 1), int)


def changed(task: str, values: object, split: str = "train") -> DenseDomain:
    """A domain of which one number of one map is another."""
    maps = toy_maps(2, 6, 8)
    maps[task][1, 2, 3] = values
    return toy_domain(image_shape=(6, 8, 3), splits={split: (IMAGES, maps)})


def test_sizes_channels_and_arrays_are_those_of_the_fields() -> None:
    domain = toy_domain(5)
    assert (domain.size("train"), domain.size("test")) == (5, 3)
    assert domain.channels == {"segmentation": 3, "depth": 1, "normals": 3}
    images, targets = domain.arrays("train")
    assert images.shape == (5, 12, 18, 3) and list(targets) == list(KINDS)
    assert domain.chosen(["normals", "depth"]) == {"depth": "depth", "normals": "normals"}
    assert domain.chosen(None) == KINDS


def test_two_segmentation_tasks_have_classes_of_their_own() -> None:
    labels = {"coarse": np.zeros((2, 6, 8), "int8"), "fine": np.full((2, 6, 8), 4, "int8")}
    domain = DenseDomain(
        "two",
        dict.fromkeys(labels, "segmentation"),
        {"coarse": ("a",), "fine": tuple("abcde")},
        (6, 8, 3),
        {"train": (IMAGES, labels)},
    )
    assert domain.channels == {"coarse": 1, "fine": 5}


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        ("segmentation", 3, r"in \[0, 3\), or -1.*Received: 3 in image 1 at row 2, column 3"),
        ("segmentation", -2, r"Received: -2 in image 1"),
        ("depth", -0.5, r"at least 0.*Received: -0.5 in image 1 at row 2, column 3"),
        ("depth", np.nan, r"finite.*Received: nan"),
        ("normals", (0.5, 0, 0), r"unit vectors, or zero vectors.*\[0.5, 0.0, 0.0\] in image 1"),
        ("normals", np.nan, r"unit vectors"),
    ],
)
def test_values_out_of_range_are_named_with_their_place(
    task: str, values: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        changed(task, values)


def test_lazy_splits_are_checked_when_first_read_and_kept() -> None:
    reads = []

    def read() -> tuple[np.ndarray, dict[str, np.ndarray]]:
        reads.append(1)
        return IMAGES.copy(), toy_maps(2, 6, 8, classes=4)

    domain = toy_domain(image_shape=(6, 8, 3), splits=LazySplits({"train": read}))
    assert not reads
    with pytest.raises(ValueError, match=r"must be in \[0, 3\).*Received: 3"):
        domain.arrays("train")
    names = {"segmentation": tuple("abcd")}
    domain = toy_domain(
        image_shape=(6, 8, 3), splits=LazySplits({"train": read}), class_names=names
    )
    reads.clear()
    images, targets = domain.arrays("train")
    assert domain.arrays("train")[0] is images and domain.size("train") == 2 and len(reads) == 1
    with pytest.raises(ValueError, match="read-only"):
        targets["depth"][0] = 1


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "a/b"}, ValueError, "has no '/'"),
        ({"tasks": {"depth": "metres"}}, ValueError, "at least one task to one of"),
        ({"class_names": {}}, ValueError, "name the classes of each"),
        ({"image_shape": (12, 18)}, ValueError, r"must be \(height, width, channels\)"),
        ({"image_shape": (12, 20, 3)}, ValueError, r"shape \(n, 12, 20, 3\)"),
        ({"splits": {"train": (IMAGES, toy_maps(3, 6, 8))}}, ValueError, "size of the images"),
        ({"splits": {"train": (IMAGES, toy_maps(2, 6, 9))}}, ValueError, "size of the images"),
        ({"splits": {"train": (IMAGES, {})}}, ValueError, "one entry for each task"),
        ({"splits": {"train": (IMAGES / 1.0, toy_maps(2, 6, 8))}}, TypeError, "must be uint8"),
        (
            {"splits": {"train": (IMAGES, toy_maps(2, 6, 8) | {"depth": WHOLE})}},
            TypeError,
            "must be of float",
        ),
    ],
)  # fmt: skip
def test_contradictions_are_refused(
    changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        toy_domain(**changes)


def test_unknown_splits_and_tasks_are_refused() -> None:
    domain = toy_domain()
    with pytest.raises(ValueError, match=r"`split` must be a split.*'val'"):
        domain.arrays("val")
    for tasks in ([], ["depths"], "depth"):
        with pytest.raises(ValueError, match="`tasks` must hold some of"):
            domain.chosen(tasks)
