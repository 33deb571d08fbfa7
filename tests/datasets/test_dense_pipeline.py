"""`dense_pipeline`, `DenseSequence` and their reader give the same batches, and resume."""

import itertools
import time

import keras
import numpy as np
import pytest

from keras_univrep.datasets import DenseDomain, DenseSequence, dense_augment, dense_pipeline
from keras_univrep.datasets.dense_domain import DenseArrays
from keras_univrep.datasets.dense_reader import DenseReader
from tests.datasets.dense_sets import KINDS, toy_domain

DOMAIN = toy_domain()


def assert_equal(one: DenseArrays, other: DenseArrays) -> None:
    np.testing.assert_array_equal(one[0], other[0])
    assert list(one[1]) == list(other[1])
    for task in one[1]:
        np.testing.assert_array_equal(one[1][task], other[1][task], err_msg=task)
        assert one[1][task].dtype == other[1][task].dtype


def rows(domain: DenseDomain, split: str) -> list[bytes]:
    return [image.tobytes() for image in domain.arrays(split)[0]]


def test_an_evaluation_gives_every_image_once_in_order_and_as_it_is() -> None:
    dataset = dense_pipeline(DOMAIN, "train", 3)
    assert int(dataset.cardinality()) == 3
    batches = list(dataset.as_numpy_iterator())
    assert [len(images) for images, _ in batches] == [3, 3, 1]
    images, targets = DOMAIN.arrays("train")
    found = np.concatenate([batch[0] for batch in batches])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, images / 255, atol=1e-7)
    for task, values in targets.items():
        joined = np.concatenate([batch[1][task] for batch in batches])
        np.testing.assert_array_equal(joined, values)
        assert joined.dtype == ("int32" if task == "segmentation" else "float32")


@pytest.mark.parametrize("training", [True, False])
def test_the_sequence_gives_the_batches_of_the_pipeline(training: bool) -> None:
    sequence = DenseSequence(DOMAIN, "train", 3, training=training, seed=4)
    steps = dense_pipeline(DOMAIN, "train", 3, training=training, seed=4).as_numpy_iterator()
    for _ in range(2 if training else 1):
        for index in range(len(sequence)):
            assert_equal(sequence[index], next(steps))
        sequence.on_epoch_end()


def test_a_resumed_pipeline_goes_on_where_the_other_stopped() -> None:
    whole = dense_pipeline(DOMAIN, "train", 3, training=True, seed=1).as_numpy_iterator()
    resumed = dense_pipeline(DOMAIN, "train", 3, training=True, seed=1, first_step=4)
    for one, other in zip(itertools.islice(whole, 4, 8), resumed.as_numpy_iterator(), strict=False):
        assert_equal(one, other)
    sequence = DenseSequence(DOMAIN, "train", 3, training=True, seed=1, first_step=4)
    assert_equal(sequence[0], next(iter(resumed.as_numpy_iterator())))


def test_a_step_does_not_depend_on_the_steps_before_but_on_the_seed() -> None:
    one, other = (DenseReader(DOMAIN, "train", 3, training=True, seed=2) for _ in range(2))
    later = one(9)
    assert_equal([other(step) for step in (3, 9)][1], later)
    assert not np.array_equal(DenseReader(DOMAIN, "train", 3, True, seed=3)(9)[0], later[0])


def test_a_pass_of_training_holds_every_image_once_in_a_new_order() -> None:
    reader = DenseReader(DOMAIN, "train", 1, training=True, augmentation=None)
    truth = rows(DOMAIN, "train")
    orders = []
    for number in range(3):
        seen = [reader(number * 7 + step)[0] * 255 for step in range(7)]
        orders.append([truth.index(one.round().astype("uint8")[0].tobytes()) for one in seen])
        assert sorted(orders[-1]) == list(range(7))
    assert len(set(map(tuple, orders))) == 3


def test_training_images_are_those_of_dense_augment() -> None:
    batch = DenseReader(DOMAIN, "train", 4, training=True, seed=5)(2)
    reader = DenseReader(DOMAIN, "train", 4, training=True, augmentation=None, seed=5)
    plain, maps = reader(2)
    found = set()
    for row in range(4):
        # Of all results of `dense_augment` on this image one must be the batch's.
        for seed in range(3000):
            one = {task: values[row] for task, values in maps.items()}
            rng = np.random.default_rng(seed)
            image, augmented = dense_augment(plain[row], one, KINDS, rng)
            if np.allclose(image, batch[0][row], atol=1e-6):
                for task, values in augmented.items():
                    np.testing.assert_array_equal(values, batch[1][task][row])
                found.add(row)
                break
    assert found == set(range(4))


def test_a_domain_that_must_not_be_mirrored_is_not() -> None:
    reader = DenseReader(toy_domain(flip=False), "train", 4, True, augmentation="flip")
    truth = reader._images
    for step in range(5):
        for image in (reader(step)[0] * 255).round().astype("uint8"):
            assert (image == truth).all((1, 2, 3)).any()


def test_tasks_can_be_chosen() -> None:
    images, targets = next(iter(dense_pipeline(DOMAIN, "train", 2, True, tasks=["depth"])))
    assert list(targets) == ["depth"]
    whole = next(iter(dense_pipeline(DOMAIN, "train", 2, True)))
    np.testing.assert_array_equal(images, whole[0])
    np.testing.assert_array_equal(targets["depth"], whole[1]["depth"])


def test_shapes_are_static_where_they_can_be() -> None:
    images, targets = dense_pipeline(DOMAIN, "train", 2, training=True).element_spec
    assert images.shape == (2, 12, 18, 3)
    assert targets["segmentation"].shape == (2, 12, 18) and targets["normals"].shape[-1] == 3
    assert dense_pipeline(DOMAIN, "train", 2).element_spec[0].shape == (None, 12, 18, 3)


def network() -> keras.Model:
    inputs = keras.Input((12, 18, 3))
    outputs = {
        "segmentation": keras.layers.Conv2D(3, 1, name="segmentation")(inputs),
        "depth": keras.layers.Conv2D(1, 1, name="depth")(inputs),
    }
    model = keras.Model(inputs, outputs)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    losses = {"segmentation": entropy, "depth": "mae"}
    # Eager: the test is of the batches, and compiling takes most of its time.
    model.compile(keras.optimizers.SGD(0.1), loss=losses, run_eagerly=True)
    return model


def test_a_training_resumed_with_a_sequence_is_the_training() -> None:
    arguments = {"batch_size": 3, "training": True, "tasks": ["segmentation", "depth"]}
    whole = network()
    resumed = network()
    resumed.set_weights(whole.get_weights())
    start = whole.get_weights()
    whole.fit(DenseSequence(DOMAIN, "train", **arguments), epochs=2, shuffle=False, verbose=0)
    for first in (0, 3):
        sequence = DenseSequence(DOMAIN, "train", first_step=first, **arguments)
        resumed.fit(sequence, epochs=1, shuffle=False, verbose=0)
    for one, other, before in zip(whole.get_weights(), resumed.get_weights(), start, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        assert np.abs(one - before).max() > 1e-4


def test_a_network_trains_and_is_evaluated_from_the_pipeline() -> None:
    model, tasks = network(), ["segmentation", "depth"]
    model.fit(
        dense_pipeline(DOMAIN, "train", 3, training=True, tasks=tasks), steps_per_epoch=2, verbose=0
    )
    results = model.evaluate(dense_pipeline(DOMAIN, "test", 2, tasks=tasks), verbose=0)
    assert np.isfinite(results).all()


def test_a_core_reads_more_than_a_hundred_images_a_second() -> None:
    reader = DenseReader(toy_domain(8, 144, 192), "train", 8, training=True)
    reader(0)
    start = time.process_time()
    for step in range(1, 6):
        reader(step)
    assert 40 / (time.process_time() - start) > 100


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"augmentation": "crop_flip"}, "`augmentation` must be one of"),
        ({"scales": (0.9,)}, "none below 1"),
        ({"tasks": ["edges"]}, "`tasks` must hold some of"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"first_step": -1}, "`first_step` must be at least 0"),
        ({"first_step": 2, "training": False}, "0 without training"),
        ({"split": "val"}, "`split` must be a split of"),
    ],
)
def test_wrong_arguments_are_refused(changes: dict[str, object], message: str) -> None:
    arguments = {"split": "train", "batch_size": 2, "training": True, **changes}
    for make in (dense_pipeline, DenseSequence):
        with pytest.raises(ValueError, match=message):
            make(DOMAIN, **arguments)  # type: ignore[operator]


def test_reading_ahead_changes_no_batch_in_any_order() -> None:
    reader = DenseReader(DOMAIN, "train", 2, training=True, seed=8)
    sequence = DenseSequence(DOMAIN, "train", 2, training=True, seed=8)
    first = 0
    for indices in ([0, 1, 2, 3], [0, 1, 3, 2, 3, 0], [1, 2, 2, 3]):
        for index in indices:
            assert_equal(sequence[index], reader(first + index))
        sequence.on_epoch_end()
        first += 4
    evaluation = DenseSequence(DOMAIN, "train", 2)
    for _ in range(2):
        assert [len(evaluation[index][0]) for index in range(4)] == [2, 2, 2, 1]
        evaluation.on_epoch_end()


def test_a_sequence_refuses_steps_without_training_and_indices_beyond() -> None:
    with pytest.raises(ValueError, match="`steps` must be None"):
        DenseSequence(DOMAIN, "train", 2, steps=4)
    assert len(DenseSequence(DOMAIN, "train", 2, training=True, steps=11)) == 11
    with pytest.raises(IndexError, match=r"`index` must be in \[0, 4\)"):
        DenseSequence(DOMAIN, "train", 2)[4]
