"""`multi_domain_pipeline` gives every domain in every batch."""

import itertools
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import Domain, domain_from_arrays, multi_domain_pipeline, pipeline

RNG = np.random.default_rng(0)


def toy(name: str, size: int, side: int = 8) -> Domain:
    images = RNG.integers(0, 256, (size, side, side, 3)).astype("uint8")
    return domain_from_arrays(name, (images, np.arange(size)))


A, B, C = toy("a", 10), toy("b", 3, side=12), toy("c", 7)


def test_training_batches_are_those_of_each_domain_alone() -> None:
    together = multi_domain_pipeline([A, B], "train", {"a": 4, "b": 2}, training=True, seed=1)
    alone = [pipeline(A, "train", 4, True, seed=1), pipeline(B, "train", 2, True, seed=1)]
    iterators = [dataset.as_numpy_iterator() for dataset in (together, *alone)]
    for (images, labels), a, b in itertools.islice(zip(*iterators, strict=False), 8):
        assert list(images) == list(labels) == ["a", "b"]
        for name, expected in (("a", a), ("b", b)):
            np.testing.assert_array_equal(images[name], expected[0])
            np.testing.assert_array_equal(labels[name], expected[1])


def test_shapes_are_known_and_training_is_endless() -> None:
    dataset = multi_domain_pipeline({"x": A, "y": B}, "train", 5, training=True)
    images, labels = dataset.element_spec
    assert {name: tuple(spec.shape) for name, spec in images.items()} == {
        "x": (5, 8, 8, 3),
        "y": (5, 12, 12, 3),
    }
    assert {name: tuple(spec.shape) for name, spec in labels.items()} == {"x": (5,), "y": (5,)}
    assert int(dataset.cardinality()) == -1


@pytest.mark.parametrize(("batch_size", "steps"), [(4, 3), (10, 1), (1, 3)])
def test_evaluation_gives_every_image_of_every_domain_once(batch_size: int, steps: int) -> None:
    dataset = multi_domain_pipeline([A, B, C], "train", batch_size)
    found = [labels for _, labels in dataset.as_numpy_iterator()]
    assert len(found) == int(dataset.cardinality()) == steps
    for domain in (A, B, C):
        parts = [labels[domain.name] for labels in found]
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(domain.size("train")))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1 and min(map(len, parts)) > 0


@pytest.mark.parametrize(
    ("domains", "batch_size", "error", "words"),
    [
        ([A, A], 4, ValueError, "no name twice"),
        ([], 4, ValueError, "at least one domain"),
        ([A, "b"], 4, TypeError, r"\['str'\]"),
        ({"a": A.arrays("train")}, 4, TypeError, r"\['tuple'\]"),
        ([A, B], {"a": 4}, ValueError, "one entry for each domain"),
        ([A, B], {"a": 4, "b": 0}, ValueError, "batch_size=0"),
    ],
)
def test_names_the_wrong_argument(
    domains: Any, batch_size: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        multi_domain_pipeline(domains, "train", batch_size)


def test_a_pipeline_that_begins_later_gives_the_batches_that_come_then():
    arguments = ([A, C], "train", 4, True)
    whole = list(multi_domain_pipeline(*arguments, seed=3).take(12))
    late = list(multi_domain_pipeline(*arguments, seed=3, first_step=9).take(3))
    for expected, found in zip(whole[9:], late, strict=True):
        for part in (0, 1):
            for name in expected[part]:
                np.testing.assert_array_equal(
                    expected[part][name].numpy(), found[part][name].numpy()
                )
