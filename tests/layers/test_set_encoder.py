"""`SetEncoder`: the mean over a set, of a small network in NumPy."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import SetEncoder
from tests import oracles
from tests.harness import bits, check_config, randomize, weights_of

RNG = np.random.default_rng(0)
SHAPE = (2, 3, 9, 8, 3)


def encoder() -> SetEncoder:
    layer = SetEncoder(4, 2, name="set_encoder")
    layer.build(SHAPE)
    randomize(layer)
    return layer


def oracle(x: np.ndarray, w: dict[str, np.ndarray], training: bool) -> np.ndarray:
    """Embeddings (samples, filters) of images (samples, height, width, channels)."""
    for number in (1, 2):
        name = f"normalization{number}"
        x = oracles.convolution(x, w[f"convolution{number}/kernel"], padding="same")
        x = x + w[f"convolution{number}/bias"]
        moments = (w[f"{name}/moving_mean"], w[f"{name}/moving_variance"])
        x = oracles.normalization(
            x, w[f"{name}/gamma"], w[f"{name}/beta"], None if training else moments
        )
        height, width = x.shape[1] // 2, x.shape[2] // 2
        x = np.maximum(x, 0)[:, : 2 * height, : 2 * width]
        x = x.reshape(len(x), height, 2, width, 2, -1).max(axis=(2, 4))
    return x.mean(axis=(1, 2))


@pytest.mark.parametrize("training", [False, True])
def test_embeddings_are_means_of_the_networks(training: bool) -> None:
    layer = encoder()
    x = RNG.normal(size=SHAPE)
    w = weights_of(layer)
    actual = ops.convert_to_numpy(layer(x.astype("float32"), training=training))
    expected = oracle(x.reshape(6, *SHAPE[2:]), w, training).reshape(2, 3, 4).mean(axis=1)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_padding_does_not_count(training: bool) -> None:
    layer, other = encoder(), encoder()
    x = RNG.normal(size=(1, *SHAPE[1:])).astype("float32")
    padding = np.full((1, 2, *SHAPE[2:]), 100.0, "float32")
    counts = np.array([[True] * 3 + [False] * 2])
    actual = layer(np.concatenate([x, padding], axis=1), counts=counts, training=training)
    expected = other(x, training=training)
    np.testing.assert_allclose(
        ops.convert_to_numpy(actual), ops.convert_to_numpy(expected), rtol=1e-4, atol=1e-5
    )
    for value, same in zip(bits(layer).values(), bits(other).values()):
        np.testing.assert_allclose(value, same, rtol=1e-4, atol=1e-5)


def test_a_set_has_no_order_and_may_be_empty() -> None:
    layer = encoder()
    x = RNG.normal(size=SHAPE).astype("float32")
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer(x)), ops.convert_to_numpy(layer(x[:, ::-1].copy())), atol=1e-5
    )
    empty = ops.convert_to_numpy(layer(x, counts=np.array([[True] * 3, [False] * 3])))
    assert np.abs(empty[0]).max() > 0
    np.testing.assert_array_equal(empty[1], np.zeros(4))


def test_a_saved_network_that_holds_it_gives_the_same(tmp_path: pathlib.Path) -> None:
    layer = encoder()
    check_config(layer)
    entry = keras.Input(SHAPE[1:])
    model = keras.Model(entry, layer(entry))
    assert model.output_shape == (None, 4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for value, other in zip(bits(layer).values(), bits(loaded).values()):
        np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize("shape", [(1, 2, 3, 8, 3), (1, 2, 8, 8), (1, 2, None, 8, 3)])
def test_images_too_small_are_refused(shape: tuple[int | None, ...]) -> None:
    with pytest.raises(ValueError, match="of 4 pixels or more for 2 blocks. Received"):
        SetEncoder(4, 2).compute_output_spec(keras.KerasTensor(shape))


def test_sizes_that_are_not_positive_are_refused() -> None:
    with pytest.raises(ValueError, match="`blocks` must be a positive integer. Received"):
        SetEncoder(4, 0)
