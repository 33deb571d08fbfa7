"""`spatial_attention`: squares of maps, also between the positions of the maps."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_univrep.backbones import spatial_attention

RNG = np.random.default_rng(0)


def pooled(size: int = 4) -> keras.Model:
    """The sums over squares of `size` pixels, in two channels of weights 1 and -3."""
    inputs = keras.Input((16, 16, 1))
    layer = keras.layers.Conv2D(2, size, strides=size, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign(np.broadcast_to([1.0, -3.0], (size, size, 1, 2)))
    return model


def test_it_is_the_mean_of_the_squares_over_channels() -> None:
    images = RNG.normal(size=(3, 16, 16, 1)).astype("float32")
    sums = images.astype("float64").reshape(3, 4, 4, 4, 4).sum(axis=(2, 4))
    found = spatial_attention(pooled(), images)
    np.testing.assert_allclose(found, (1.0 + 9.0) / 2.0 * sums**2, rtol=1e-4, atol=1e-5)


def test_finer_positions_lie_between_those_of_the_maps() -> None:
    images = RNG.normal(size=(2, 16, 16, 1)).astype("float32")
    found = spatial_attention(pooled(), images, finer=2)
    # Squares of four pixels whose middles are one pixel before and after those of the maps.
    bordered = np.pad(images[..., 0].astype("float64"), [(0, 0), (2, 2), (2, 2)], "reflect")
    for u in range(8):
        for v in range(8):
            top, left = 2 * u + 1, 2 * v + 1
            sums = bordered[:, top : top + 4, left : left + 4].sum(axis=(1, 2))
            np.testing.assert_allclose(found[:, u, v], 5.0 * sums**2, rtol=1e-3, atol=1e-4)


def test_what_cannot_be_is_refused() -> None:
    images = np.zeros((1, 16, 16, 1), "float32")
    for finer in (0, 5, 1.5):
        with pytest.raises(ValueError, match="`finer` must be an integer from 1 to .* 4"):
            spatial_attention(pooled(), images, finer)
    inputs = keras.Input((16, 16, 1))
    vectors = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    with pytest.raises(ValueError, match=r"must return maps .* Received: .*\(1, 1\)"):
        spatial_attention(vectors, images)
