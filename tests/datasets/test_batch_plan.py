"""`BatchPlan` chooses images, crops and mirrors as documented."""

from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets.batch_plan import BatchPlan

SHAPE = (16, 24, 3)


def steps(plan: BatchPlan, count: int) -> np.ndarray:
    return np.concatenate([plan(step)[0] for step in range(count)])


@pytest.mark.parametrize(("size", "batch_size"), [(10, 4), (3, 8), (5, 5)])
def test_each_pass_holds_every_image_once(size: int, batch_size: int) -> None:
    plan = BatchPlan(size, SHAPE, batch_size, training=True)
    order = steps(plan, 3 * size)[: 2 * batch_size * size].reshape(-1, size)
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(size), (len(order), 1)))
    assert plan.steps is None


def test_passes_differ_in_order() -> None:
    order = steps(BatchPlan(50, SHAPE, 50, training=True), 2).reshape(2, 50)
    assert (order[0] != order[1]).any()


def test_a_step_does_not_depend_on_the_steps_asked_before() -> None:
    arguments: dict[str, Any] = {"training": True, "augmentation": "crop_flip", "seed": 3}
    plan, other = (BatchPlan(10, SHAPE, 4, **arguments) for _ in range(2))
    for step in (7, 0, 3):
        other(step)
    for one, two in zip(plan(5), other(5), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("change", [{"seed": 1}, {"stream": "b"}])
def test_seed_and_stream_change_the_draw(change: dict[str, Any]) -> None:
    one = BatchPlan(100, SHAPE, 50, training=True)(0)[0]
    other = BatchPlan(100, SHAPE, 50, training=True, **change)(0)[0]
    assert (one != other).any()


def test_crops_shift_evenly_up_to_the_padding() -> None:
    plan = BatchPlan(400, SHAPE, 400, training=True, augmentation="crop")
    _, rows, columns = plan(0)
    # Away from the border a crop reads consecutive pixels, so the middle tells the shift.
    for maps, side, padding in ((rows, 16, 2), (columns, 24, 3)):
        shifts, counts = np.unique(maps[:, side // 2] - side // 2, return_counts=True)
        np.testing.assert_array_equal(shifts, np.arange(-padding, padding + 1))
        assert counts.min() > 30
        assert maps.min() >= 0 and maps.max() < side


def test_maps_read_the_image_as_numpy_reflects_it() -> None:
    plan = BatchPlan(64, SHAPE, 64, training=True, augmentation="crop", padding=5)
    _, rows, columns = plan(0)
    for maps, side in ((rows, 16), (columns, 24)):
        padded = np.pad(np.arange(side), 5, mode="reflect")
        for line in maps:
            shift = line[side // 2] - side // 2
            np.testing.assert_array_equal(line, padded[5 + shift :][:side])


def test_half_of_the_images_are_mirrored() -> None:
    plan = BatchPlan(1000, SHAPE, 1000, training=True, augmentation="crop_flip", padding=0)
    _, rows, columns = plan(0)
    mirrored = columns[:, 0] == 23
    np.testing.assert_array_equal(columns[~mirrored, 0], 0)
    np.testing.assert_array_equal(rows, np.tile(np.arange(16), (1000, 1)))
    assert 440 < mirrored.sum() < 560


def test_evaluation_gives_each_image_once_in_order_and_unchanged() -> None:
    plan = BatchPlan(10, SHAPE, 4, augmentation="crop_flip")
    assert plan.steps == 3 and not plan.augments
    assert [len(plan(step)[0]) for step in range(3)] == [4, 4, 2]
    np.testing.assert_array_equal(steps(plan, 3), np.arange(10))


def test_evaluation_in_a_number_of_steps_divides_evenly() -> None:
    plan = BatchPlan(11, SHAPE, 100, steps=4)
    assert sorted(len(plan(step)[0]) for step in range(4)) == [2, 3, 3, 3]
    np.testing.assert_array_equal(steps(plan, 4), np.arange(11))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 2.0}, "batch_size=2.0"),
        ({"augmentation": "mixup"}, "'crop_flip'.*augmentation='mixup'"),
        ({"padding": 16}, "padding=16"),
        ({"padding": -1}, "padding=-1"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_names_the_wrong_value(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BatchPlan(**({"size": 4, "image_shape": SHAPE, "batch_size": 2} | change))
