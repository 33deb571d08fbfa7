import numpy as np
import pytest

from keras_univrep import datasets
from keras_univrep.applications import preprocess_input


def test_images_are_normalised_as_the_domain_does():
    domain = datasets.load_domain("quickdraw")
    images = domain.arrays("validation")[0][:4]
    np.testing.assert_allclose(
        preprocess_input(images, "demo", "quickdraw"), domain.normalize(images), atol=1e-6
    )


def test_without_weights_images_are_scaled_and_normalised_as_said():
    images = np.arange(12, dtype="float32").reshape(1, 2, 2, 3) * 20.0
    np.testing.assert_allclose(preprocess_input(images), images / 255.0, rtol=1e-6)
    found = preprocess_input(images, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.1))
    np.testing.assert_allclose(
        found, (images / 255.0 - np.array([0.5, 0.4, 0.3])) / np.array([0.2, 0.2, 0.1]), rtol=1e-5
    )
    assert found.dtype == np.float32


def test_scaled_images_and_other_channels_are_refused():
    with pytest.raises(ValueError, match="scaled already"):
        preprocess_input(np.full((1, 2, 2, 3), 0.5))
    with pytest.raises(ValueError, match="Repeat a grey channel"):
        preprocess_input(np.zeros((1, 2, 2, 1), "uint8"), "demo", "eurosat")
    with pytest.raises(ValueError, match="one of"):
        preprocess_input(np.zeros((1, 2, 2, 3), "uint8"), "demo", "birds")
