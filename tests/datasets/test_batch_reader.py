"""`BatchReader` against padding, cutting and normalising by hand in float64."""

import numpy as np
import pytest

from keras_univrep.datasets import Domain, domain_from_arrays
from keras_univrep.datasets.batch_plan import BatchPlan
from keras_univrep.datasets.batch_reader import BatchReader

RNG = np.random.default_rng(0)


@pytest.fixture(params=[1, 3])
def domain(request: pytest.FixtureRequest) -> Domain:
    images = RNG.integers(0, 256, (20, 16, 24, request.param)).astype("uint8")
    return domain_from_arrays("toy", (images, np.arange(20) % 4))


def normalised(domain: Domain, images: np.ndarray) -> np.ndarray:
    return (images.astype("float64") / 255 - np.array(domain.mean)) / np.array(domain.std)


def test_training_batches_are_crops_of_the_reflected_images(domain: Domain) -> None:
    plan = BatchPlan(20, domain.image_shape, 8, training=True, augmentation="crop_flip", seed=5)
    images, labels = BatchReader(domain, "train", plan)(4)
    indices, rows, columns = plan(4)
    for i in range(8):
        flip = columns[i, 12] < columns[i, 11]
        line = columns[i, ::-1] if flip else columns[i]
        top, left = 2 + rows[i, 8] - 8, 3 + line[12] - 12
        source = domain.arrays("train")[0][indices[i]]
        padded = np.pad(source, [(2, 2), (3, 3), (0, 0)], mode="reflect")
        crop = padded[top : top + 16, left : left + 24]
        expected = normalised(domain, crop[:, ::-1] if flip else crop)
        np.testing.assert_allclose(images[i], expected, atol=2e-6)
    np.testing.assert_array_equal(labels, domain.arrays("train")[1][indices])
    assert images.dtype == np.float32 and labels.dtype == np.int32


def test_evaluation_batches_are_the_images(domain: Domain) -> None:
    reader = BatchReader(domain, "train", BatchPlan(20, domain.image_shape, 20))
    images, labels = reader(0)
    np.testing.assert_allclose(images, normalised(domain, domain.arrays("train")[0]), atol=2e-6)
    np.testing.assert_allclose(images.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(images.std(axis=(0, 1, 2)), 1, atol=1e-5)
    np.testing.assert_array_equal(labels, np.arange(20) % 4)
