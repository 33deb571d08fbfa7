"""`MultiMetaTasks` draws sub-tasks as it says, and the same ones again."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.datasets import MultiMetaTasks

RNG = np.random.default_rng(0)
# The first pixel is the number of the image.
IMAGES = RNG.integers(0, 256, (30, 8, 8, 3)).astype("uint8")
IMAGES[:, 0, 0, 0] = np.arange(30)
ENVIRONMENTS = np.repeat([3, 5, 9], [12, 6, 12])
LABELS = np.arange(30) % 6


def make(**arguments: object) -> MultiMetaTasks:
    maps = {"depth": np.arange(30, dtype="float32")[:, None, None, None] * np.ones((8, 8, 1))}
    sets = {"one": (IMAGES, LABELS), "two": (255 - IMAGES, LABELS)}
    views = {task: (IMAGES, labels, ENVIRONMENTS) for task, labels in maps.items()}
    return MultiMetaTasks(sets, views, query=2, **arguments)


def numbers(x: np.ndarray) -> np.ndarray:
    return np.rint((x[..., 0, 0, 0] + 1) * 127.5).astype(int)


def test_an_environment_is_not_mixed_and_its_images_are_not_repeated() -> None:
    tasks = make()
    assert tasks.environments("depth") == 2
    (support, of_support), (query, of_query) = tasks.batch(4, 6)["depth"].values()
    assert support.shape == (6, 3, 8, 8, 3) and of_query.shape == (6, 5, 8, 8, 1)
    found = np.concatenate([numbers(support), numbers(query)], axis=1)
    np.testing.assert_array_equal(found[:, :3], of_support[..., 0, 0, 0])
    np.testing.assert_array_equal(found[:, 3:], of_query[..., 0, 0, 0])
    for row in found:
        assert len(set(row)) == 8 and len(set(ENVIRONMENTS[row])) == 1
    assert len({ENVIRONMENTS[row[0]] for row in found}) == 2


def test_classes_are_of_one_image_set_and_the_sets_take_turns() -> None:
    batch = make().batch(0, 4)["classification"]
    for number in range(4):
        rows = []
        for part, count in (("support", 1), ("query", 2)):
            x, y = (array[number] for array in batch[part])
            assert y.dtype == np.int32 and np.bincount(y).tolist() == [count] * 5
            found = numbers(x) if number % 2 == 0 else 255 - numbers(x)
            rows.append(found)
            # A label stands for one class throughout the sub-task.
            for label in range(5):
                assert len(set(LABELS[found[y == label]])) == 1
        assert not set(rows[0]) & set(rows[1])


def test_batches_depend_on_seed_and_number_alone() -> None:
    first, again, other = make().batches(2), make(), make(seed=1)
    next(first)
    (second,) = next(first)
    np.testing.assert_array_equal(second["depth"]["query"][0], again.batch(1)["depth"]["query"][0])
    assert not np.array_equal(second["depth"]["query"][0], other.batch(1)["depth"]["query"][0])


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="must be an image set or another task"):
        MultiMetaTasks({})
    with pytest.raises(ValueError, match="must have 13 images"):
        make(query_views=10)
    with pytest.raises(ValueError, match="`support_views` must be"):
        make(support_views=0)
    with pytest.raises(ValueError, match="as many labels and environments of 'depth'"):
        MultiMetaTasks({}, {"depth": (IMAGES, IMAGES[:3], ENVIRONMENTS)})
    with pytest.raises(ValueError, match="is that of `classes`"):
        MultiMetaTasks({}, {"classification": (IMAGES, IMAGES, ENVIRONMENTS)})


def test_vectors_are_labels_too() -> None:
    points = RNG.random((30, 2))
    tasks = MultiMetaTasks({}, {"point": (IMAGES, points, ENVIRONMENTS)})
    x, y = tasks.batch(0)["point"]["query"]
    assert y.shape == (2, 5, 2) and y.dtype == np.float32
    np.testing.assert_allclose(y, points[numbers(x)], rtol=1e-6)
