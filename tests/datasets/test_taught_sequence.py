"""Batches that hold images and what a teacher answered to exactly these pixels."""

from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import (
    Domain,
    FixedViews,
    TaughtSequence,
    domain_from_arrays,
    taught_pipeline,
)
from keras_univrep.models import TeacherCache

RNG = np.random.default_rng(0)


def toy(name: str, size: int) -> Domain:
    images = RNG.integers(0, 256, (size, 8, 8, 3)).astype("uint8")
    return domain_from_arrays(name, (images, np.arange(size)))


def answers(images: np.ndarray) -> dict[str, np.ndarray]:
    """A "teacher": numbers that tell the pixels."""
    return {"features": images[:, 0, :5, 0], "logits": images[:, 3, :4, 1]}


def parts(views: int = 3) -> tuple[dict[str, FixedViews], dict[str, TeacherCache]]:
    found = {name: FixedViews(toy(name, n), "train", views) for name, n in (("a", 10), ("b", 4))}
    return found, {"a": TeacherCache(**answers(found["a"].read(np.arange(10 * views))[0]))}


def test_each_row_is_the_answer_to_the_image_beside_it() -> None:
    views, caches = parts()
    sequence = TaughtSequence(views, caches, {"a": 4, "b": 3}, seed=3)
    for step in range(12):
        x, y = sequence.read(step)
        assert set(x["images"]) == set(y) == {"a", "b"} and set(x["targets"]) == {"a"}
        for key, expected in answers(x["images"]["a"]).items():
            np.testing.assert_allclose(x["targets"]["a"][key], expected, rtol=1e-6)
        assert {str(x["targets"]["a"][key].dtype) for key in caches["a"].take([0])} == {"float32"}


def test_each_pass_shows_every_image_once_and_the_next_view_of_it() -> None:
    views, caches = parts()
    sequence = TaughtSequence(views, caches, 5)
    samples = np.concatenate([sequence.samples("a", step) for step in range(8)])
    for number in range(4):
        one_pass = samples[10 * number : 10 * (number + 1)]
        assert sorted(one_pass % 10) == list(range(10))
        assert set(one_pass // 10) == {number % 3}
    # A batch may hold the end of a pass and the start of the next: 4 images, batches of 5.
    other = np.concatenate([sequence.samples("b", step) for step in range(4)])
    np.testing.assert_array_equal(other // 4, np.arange(20) // 4 % 3)


def test_epochs_and_first_step_go_on_where_the_last_one_ended() -> None:
    views, caches = parts()
    sequence = TaughtSequence(views, caches, 4, steps=2)
    assert len(sequence) == 2 and len(TaughtSequence(views, caches, 4)) == 3
    later = TaughtSequence(views, caches, 4, steps=2, first_step=2)
    sequence.on_epoch_end()
    for index in range(2):
        for one, two in zip(sequence[index], later[index], strict=True):
            labels = [part.get("a") if "a" in part else part["images"]["a"] for part in (one, two)]
            np.testing.assert_array_equal(*labels)
    with pytest.raises(IndexError, match=r"in \[0, 2\)"):
        sequence[2]


def test_pipeline_gives_the_same_batches_with_known_shapes() -> None:
    views, caches = parts()
    sequence = TaughtSequence(views, caches, 4, seed=1)
    dataset = taught_pipeline(views, caches, 4, seed=1, first_step=5)
    assert tuple(dataset.element_spec[0]["targets"]["a"]["features"].shape) == (4, 5)
    assert int(dataset.cardinality()) == -1
    for step, (x, y) in zip(range(5, 9), dataset.as_numpy_iterator()):
        images, labels = sequence.read(step)
        for name in views:
            np.testing.assert_array_equal(x["images"][name], images["images"][name])
            np.testing.assert_array_equal(y[name], labels[name])
        np.testing.assert_array_equal(x["targets"]["a"]["logits"], images["targets"]["a"]["logits"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"views": {}}, "must not be empty"),
        ({"batch_size": {"a": 4}}, "must name each of its domains"),
        ({"caches": {"c": None}}, "`caches` some"),
        (
            {"caches": {"b": TeacherCache(np.ones((4, 2)), np.ones((4, 2)))}},
            "one row for each view",
        ),
        ({"steps": 0}, "at least 1"),
        ({"first_step": -1}, "at least 0"),
    ],
)
def test_arguments_are_checked(change: dict[str, Any], words: str) -> None:
    views, caches = parts()
    with pytest.raises(ValueError, match=words):
        TaughtSequence(**{"views": views, "caches": caches, "batch_size": 4, **change})
