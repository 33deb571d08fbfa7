"""`subset` and `with_classes` keep the images that they should, with their labels."""

from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import Domain, domain_from_arrays, pipeline, subset, with_classes


def toy() -> Domain:
    """40 images of 3 classes (20, 12, 8), each of one colour of its own; validation of 6."""
    labels = np.repeat([0, 1, 2], [20, 12, 8])[np.random.default_rng(1).permutation(40)]
    images = np.zeros((46, 8, 8, 3), "uint8") + np.arange(46, dtype="uint8")[:, None, None, None]
    return domain_from_arrays(
        "toy",
        (images[:40], labels),
        (images[40:], np.arange(6) % 3),
        class_names=("cat", "dog", "fox"),
    )


def colours(domain: Domain, split: str = "train") -> list[int]:
    return domain.arrays(split)[0][:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        ({"fraction": 0.5}, [10, 6, 4]),
        ({"fraction": 0.1}, [2, 1, 1]),
        ({"fraction": 0.01}, [1, 1, 1]),
        ({"fraction": 1.0}, [20, 12, 8]),
        ({"per_class": 1}, [1, 1, 1]),
        ({"per_class": 10}, [10, 10, 8]),
    ],
)
def test_each_class_keeps_its_share(arguments: dict[str, Any], counts: list[int]) -> None:
    domain = toy()
    part = subset(domain, **arguments)
    assert np.bincount(part.arrays("train")[1]).tolist() == counts
    labels = dict(zip(colours(domain), domain.arrays("train")[1].tolist(), strict=True))
    kept = colours(part)
    assert part.arrays("train")[1].tolist() == [labels[colour] for colour in kept]
    assert kept == sorted(kept) and len(set(kept)) == sum(counts)


def test_smaller_parts_lie_in_larger_ones_and_seeds_differ() -> None:
    domain = toy()
    parts = [set(colours(subset(domain, fraction=f, seed=5))) for f in (0.1, 0.3, 0.6, 1.0)]
    assert parts[0] < parts[1] < parts[2] < parts[3] == set(colours(domain))
    assert set(colours(subset(domain, per_class=2, seed=5))) < parts[2]
    assert colours(subset(domain, fraction=0.3, seed=6)) != colours(
        subset(domain, fraction=0.3, seed=5)
    )


def test_all_else_stays() -> None:
    domain = toy()
    part = subset(domain, fraction=0.2)
    assert part.splits.keys() == domain.splits.keys()
    assert colours(part, "validation") == colours(domain, "validation")
    fields = ("name", "num_classes", "class_names", "image_shape", "mean", "std", "flip")
    assert all(getattr(part, field) == getattr(domain, field) for field in fields)
    assert subset(domain, "validation", per_class=1).size("validation") == 3


def test_parts_feed_pipelines() -> None:
    images, labels = next(iter(pipeline(subset(toy(), per_class=2), "train", 6, training=True)))
    assert tuple(images.shape) == (6, 8, 8, 3)
    assert np.bincount(np.asarray(labels)).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev", "fraction": 0.5}, "`split` must be a split"),
        ({}, "Exactly one of"),
        ({"fraction": 0.5, "per_class": 1}, "Exactly one of"),
        ({"fraction": 0.0}, r"`fraction` must be in \(0, 1\]"),
        ({"fraction": 1.1}, r"`fraction` must be in \(0, 1\]"),
        ({"per_class": 0}, "`per_class` must be at least 1"),
        ({"fraction": 0.5, "seed": -1}, "`seed` must be at least 0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        subset(toy(), **arguments)


@pytest.mark.parametrize("classes", [["fox", "cat"], [2, 0], [np.int64(2), "cat"]])
def test_chosen_classes_are_numbered_in_their_order(classes: list[Any]) -> None:
    domain = toy()
    part = with_classes(domain, classes)
    assert part.num_classes == 2 and part.class_names == ("fox", "cat") and part.name == "toy"
    for split in domain.splits:
        old = dict(zip(colours(domain, split), domain.arrays(split)[1].tolist(), strict=True))
        new = dict(zip(colours(part, split), part.arrays(split)[1].tolist(), strict=True))
        assert new == {c: {2: 0, 0: 1}[label] for c, label in old.items() if label in (0, 2)}
        assert list(new) == [colour for colour in old if colour in new]
    assert part.arrays("train")[1].dtype == np.int32
    assert with_classes(domain, classes, name="few").name == "few"


@pytest.mark.parametrize("classes", [[], ["cow"], [3], [-1], ["cat", 0]])
def test_classes_that_cannot_be_chosen_are_refused(classes: list[Any]) -> None:
    with pytest.raises(ValueError, match="must hold at least one of the 3 classes"):
        with_classes(toy(), classes)
