"""`pipeline` gives through tf.data what the reader gives eagerly."""

import itertools
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import Domain, domain_from_arrays, load_domain, pipeline
from keras_univrep.datasets.readers import make_reader

RNG = np.random.default_rng(0)


def toy(flip: bool = True) -> Domain:
    images = RNG.integers(0, 256, (10, 16, 16, 3)).astype("uint8")
    return domain_from_arrays("toy", (images, np.arange(10)), flip=flip)


def batches(domain: Domain, count: int, **arguments: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    dataset = pipeline(domain, "train", 4, **arguments)
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


@pytest.mark.parametrize("augmentation", [None, "crop", "crop_flip"])
def test_training_batches_equal_the_eager_ones(augmentation: str | None) -> None:
    domain = toy()
    found = batches(domain, 6, training=True, augmentation=augmentation, seed=2)
    reader = make_reader(domain, "train", 4, True, augmentation, None, 2, "toy")
    for step, (images, labels) in enumerate(found):
        expected_images, expected_labels = reader(step)
        np.testing.assert_array_equal(images, expected_images)
        np.testing.assert_array_equal(labels, expected_labels)


def test_a_seed_gives_the_same_batches_each_time_and_another_seed_others() -> None:
    domain = toy()
    one, again, other = (batches(domain, 5, training=True, seed=seed) for seed in (7, 7, 8))
    for (a, _), (b, _) in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != c).any() for (a, _), (c, _) in zip(one, other, strict=True))


def test_a_domain_that_may_not_be_mirrored_never_is() -> None:
    domain = toy(flip=False)
    mirrored = batches(domain, 20, training=True, augmentation="crop_flip")
    plain = batches(domain, 20, training=True, augmentation="crop")
    for (a, _), (b, _) in zip(mirrored, plain, strict=True):
        np.testing.assert_array_equal(a, b)


def test_evaluation_gives_every_image_once_in_order() -> None:
    found = batches(toy(), 100)
    assert [len(labels) for _, labels in found] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in found]), np.arange(10))


def test_shapes_and_lengths_are_known_before_reading() -> None:
    import tensorflow as tf

    training = pipeline(load_domain("eurosat"), "train", 8, training=True)
    images, labels = training.element_spec
    assert images.shape == (8, 32, 32, 3) and images.dtype == tf.float32
    assert labels.shape == (8,) and labels.dtype == tf.int32
    assert training.cardinality() == tf.data.INFINITE_CARDINALITY
    evaluation = pipeline(load_domain("eurosat"), "test", 8)
    assert evaluation.element_spec[0].shape.as_list() == [None, 32, 32, 3]
    assert evaluation.cardinality() == 38


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="split='dev'"):
        pipeline(toy(), "dev", 4)
    with pytest.raises(ValueError, match="augmentation='cutmix'"):
        pipeline(toy(), "train", 4, training=True, augmentation="cutmix")
