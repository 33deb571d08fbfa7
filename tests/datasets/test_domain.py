"""`Domain` refuses what contradicts itself."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import Domain

IMAGES = np.zeros((4, 8, 6, 3), "uint8")
LABELS = np.array([0, 1, 1, 0], "int32")
FIELDS: dict[str, Any] = {
    "name": "toy",
    "num_classes": 2,
    "class_names": ("a", "b"),
    "image_shape": (8, 6, 3),
    "mean": (0.1, 0.2, 0.3),
    "std": (1.0, 1.0, 1.0),
    "splits": {"train": (IMAGES, LABELS)},
}


def test_gives_its_arrays_and_their_number() -> None:
    domain = Domain(**FIELDS)
    images, labels = domain.arrays("train")
    assert images is IMAGES and labels is LABELS and domain.size("train") == 4


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Domain(**FIELDS).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "not empty"),
        ({"name": "a/b"}, "no '/'"),
        ({"num_classes": 3}, "one name per class"),
        ({"mean": (0.5,)}, "one value per channel"),
        ({"std": (1.0, 0.0, 1.0)}, "positive"),
        ({"mean": (0.1, float("nan"), 0.3)}, "finite"),
        ({"image_shape": (8, 8, 3)}, r"shape \(n, 8, 8, 3\)"),
        ({"splits": {"train": (IMAGES, LABELS + 1)}}, r"in \[0, 2\).*from 1 to 2"),
        ({"splits": {"train": (IMAGES, LABELS - 1)}}, r"in \[0, 2\).*from -1 to 0"),
        ({"splits": {"train": (IMAGES, LABELS[:3])}}, "one per image"),
        ({"splits": {"train": (IMAGES[:0], LABELS[:0])}}, "at least 1"),
        ({"splits": {"train": (IMAGES[..., 0], LABELS)}}, "1 or 3 channels"),
    ],
)
def test_names_the_wrong_value(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        Domain(**(FIELDS | change))
    assert "Received: " in str(error.value)


@pytest.mark.parametrize(
    "arrays", [(IMAGES.astype("float32"), LABELS), (IMAGES, LABELS.astype("int64"))]
)
def test_names_the_wrong_type(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(TypeError, match="uint8 and labels int32. Received: "):
        Domain(**(FIELDS | {"splits": {"train": arrays}}))


def test_lists_the_splits_when_one_is_unknown() -> None:
    with pytest.raises(ValueError, match=r"\['train'\]. Received: split='valid'"):
        Domain(**FIELDS).arrays("valid")
