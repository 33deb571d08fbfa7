"""`BatchNormalization` against a NumPy float64 oracle."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import BatchNormalization

RNG = np.random.default_rng(0)


def oracle(
    x: np.ndarray, counted: np.ndarray | None = None, epsilon: float = 1e-5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalised x (..., channels) and the statistics of its counted positions."""
    rows = x.reshape(-1, x.shape[-1]) if counted is None else x[counted]
    mean, variance = rows.mean(0), rows.var(0)
    return (x - mean) / np.sqrt(variance + epsilon), mean, variance


@pytest.mark.parametrize("shape", [(6, 3), (2, 5, 3), (2, 4, 5, 3), (2, 4, 5, 1)])
def test_normalizes_with_the_statistics_of_the_batch(shape: tuple[int, ...]) -> None:
    x = RNG.normal(2.0, 3.0, size=shape)
    layer = BatchNormalization()
    y = layer(x.astype("float32"), training=True)
    expected, mean, variance = oracle(x)
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.moving_mean), 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.moving_variance), 0.9 + 0.1 * variance, rtol=1e-4
    )


def test_inference_uses_the_moving_statistics() -> None:
    layer = BatchNormalization()
    layer.build((None, 2))
    layer.moving_mean.assign([1.0, 2.0])
    layer.moving_variance.assign([4.0, 9.0])
    y = layer(np.array([[3.0, 5.0]], "float32"), training=False)
    np.testing.assert_allclose(ops.convert_to_numpy(y), [[1.0, 1.0]], rtol=1e-5)


def test_channels_may_come_first() -> None:
    x = RNG.normal(size=(2, 3, 4, 5))
    y = BatchNormalization(axis=1)(x.astype("float32"), training=True)
    expected = np.moveaxis(oracle(np.moveaxis(x, 1, -1))[0], -1, 1)
    np.testing.assert_allclose(ops.convert_to_numpy(y), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("axis", [1, -1])
def test_only_counted_positions_enter_the_statistics(axis: int, channels: int) -> None:
    x = RNG.normal(2.0, 1.0, size=(4, 5, channels))
    counted = RNG.random((4, 5)) < 0.6
    x[~counted] = 1e6
    layer = BatchNormalization(axis=axis)
    inputs = np.moveaxis(x, -1, axis).astype("float32")
    y = np.moveaxis(ops.convert_to_numpy(layer(inputs, training=True, mask=counted)), axis, -1)
    expected, mean, _ = oracle(x, counted)
    np.testing.assert_allclose(y[counted], expected[counted], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.moving_mean), 0.1 * mean, rtol=1e-4)


def test_nothing_counted_is_finite() -> None:
    layer = BatchNormalization()
    y = layer(np.ones((2, 3), "float32"), training=True, mask=np.zeros((2,), bool))
    assert np.all(np.isfinite(ops.convert_to_numpy(y)))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.moving_mean), np.zeros(3))


def test_refuses_a_mask_with_the_rank_of_the_inputs() -> None:
    with pytest.raises(ValueError, match="mask"):
        BatchNormalization()(np.ones((2, 3), "float32"), training=True, mask=np.ones((2, 3), bool))


@pytest.mark.parametrize("masked", [False, True])
def test_second_order_gradient_equals_central_differences(masked: bool) -> None:
    x, weights = RNG.normal(size=(7, 2)), RNG.normal(size=(7, 2))
    counted = np.array([True, True, False, True, True, False, True]) if masked else None

    def first_order(x: np.ndarray) -> np.ndarray:
        grad = np.zeros_like(x)
        for index in np.ndindex(x.shape):
            shift = np.zeros_like(x)
            shift[index] = 1e-5
            high, low = (np.sum(weights * oracle(x + s, counted)[0] ** 3) for s in (shift, -shift))
            grad[index] = (high - low) / 2e-5
        return grad

    def steepness(x: np.ndarray) -> float:
        return float(np.sum(first_order(x) ** 2))

    expected = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[index] = 1e-4
        expected[index] = (steepness(x + shift) - steepness(x - shift)) / 2e-4

    layer = BatchNormalization()
    layer.build((None, 2))

    def loss(values: list) -> tuple:
        y = layer(values[0], training=True, mask=counted)
        return ops.sum(ops.multiply(weights.astype("float32"), y**3)), ()

    def squared_norm(values: list) -> tuple:
        _, (grad,) = backend.value_and_grad(loss, values)
        return ops.sum(ops.square(grad)), ()

    (value, _), (grad,) = backend.value_and_grad(squared_norm, [x.astype("float32")])
    np.testing.assert_allclose(float(value), steepness(x), rtol=1e-3)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(ops.convert_to_numpy(grad) / scale, expected / scale, atol=1e-3)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_low_precision_inputs_have_float32_statistics(dtype: str) -> None:
    # The sum of squares is far beyond float16.
    x = np.linspace(-300.0, 300.0, 1024).reshape(512, 2)
    layer = BatchNormalization(dtype=dtype)
    y = layer(ops.cast(x, layer.compute_dtype), training=True)
    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    assert keras.backend.standardize_dtype(layer.moving_variance.dtype) == "float32"
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.moving_variance), 0.9 + 0.1 * x.var(0), rtol=2e-3
    )
    actual = ops.convert_to_numpy(ops.cast(y, "float32"))
    np.testing.assert_allclose(actual, oracle(x)[0], atol=2e-2)


def test_a_frozen_layer_keeps_its_statistics() -> None:
    layer = BatchNormalization()
    layer.build((None, 2))
    layer.trainable = False
    layer(RNG.normal(size=(4, 2)).astype("float32"), training=True)
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.moving_mean), np.zeros(2))
    np.testing.assert_array_equal(ops.convert_to_numpy(layer.moving_variance), np.ones(2))


def test_config_round_trip_keeps_every_argument() -> None:
    layer = BatchNormalization(axis=1, momentum=0.7, epsilon=1e-4, scale=False, name="norm")
    config = keras.saving.serialize_keras_object(layer)
    copy = keras.saving.deserialize_keras_object(config)
    assert isinstance(copy, BatchNormalization)
    assert copy.get_config() == layer.get_config()
    assert (BatchNormalization().momentum, BatchNormalization().epsilon) == (0.9, 1e-5)
