"""`domain_fingerprint` changes with the data and with nothing else."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import Domain, domain_fingerprint
from keras_univrep.datasets.lazy_splits import LazySplits

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3)).astype("uint8")
LABELS = np.array([0, 1, 2] * 3, "int32")


def domain(images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, **facts: Any) -> Domain:
    given: dict[str, Any] = {
        "name": "toy",
        "num_classes": 3,
        "class_names": ("a", "b", "c"),
        "image_shape": images.shape[1:],
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
    }
    return Domain(**{**given, **facts}, splits={"train": (images, labels)})


@pytest.mark.parametrize("limit", [None, 1, 4, 100])
def test_the_same_data_have_one_fingerprint_wherever_they_are(limit: int | None) -> None:
    known = domain()
    lazy = dataclasses.replace(
        known, splits=LazySplits({"train": lambda: (IMAGES[::-1].copy()[::-1], LABELS.copy())})
    )
    found = domain_fingerprint(known, "train", limit)
    assert len(found) == 16
    assert domain_fingerprint(lazy, "train", limit) == found


@pytest.mark.parametrize("limit", [None, 3])
def test_other_data_have_another(limit: int | None) -> None:
    other = IMAGES.copy()
    other[0, 0, 0, 0] ^= 1
    kinds = [
        domain(),
        domain(other),
        domain(IMAGES[:, :, :3]),
        domain(IMAGES[:6], LABELS[:6]),
        domain(labels=LABELS[::-1].copy()),
        domain(class_names=("a", "c", "b")),
        domain(name="birds"),
        domain(mean=(0.4, 0.5, 0.5)),
        domain(std=(0.4, 0.5, 0.5)),
    ]
    assert len({domain_fingerprint(kind, "train", limit) for kind in kinds}) == len(kinds)


def test_with_a_limit_some_images_are_read_and_all_without() -> None:
    other = IMAGES.copy()
    other[1] = 255 - other[1]
    changed, known = domain(other), domain()
    assert domain_fingerprint(changed, "train", 3) == domain_fingerprint(known, "train", 3)
    assert domain_fingerprint(changed, "train") != domain_fingerprint(known, "train")


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="`limit` must be None or at least 1"):
        domain_fingerprint(domain(), "train", 0)
    with pytest.raises(ValueError, match="`split` must be a split of domain 'toy'"):
        domain_fingerprint(domain(), "test")
