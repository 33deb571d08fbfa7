"""What the adapters of a convolution have in common."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import ParallelAdapter, SeriesAdapter
from keras_univrep.layers.adapted_layer import (
    affine_of,
    check_layer,
    filters_of,
    finish,
    fresh_initializer,
    restore_layer,
    run,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("cls", [ParallelAdapter, SeriesAdapter])
def test_paths_of_variables_survive_a_round_trip(cls: type[keras.Layer]) -> None:
    layer = cls(keras.layers.Conv2D(4, 3, name="convolution"), ["a"], name="layer")
    layer.build((None, 6, 6, 3))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    paths = [variable.path for variable in again.weights]
    assert paths == [variable.path for variable in layer.weights]
    assert "layer/convolution/kernel" in paths


def test_a_restored_convolution_waits_for_its_adapter() -> None:
    convolution = keras.layers.Conv2D(4, 3, strides=2, name="convolution")
    convolution.build((None, 6, 6, 3))
    again = restore_layer(keras.saving.serialize_keras_object(convolution))
    assert not again.built
    assert again.get_config() == convolution.get_config()


@pytest.mark.parametrize("use_bias", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda **kwargs: keras.layers.Conv2D(4, 3, strides=2, padding="same", **kwargs),
        lambda **kwargs: keras.layers.Conv2D(4, 2, padding="same", **kwargs),
        lambda **kwargs: keras.layers.DepthwiseConv2D(3, depth_multiplier=2, **kwargs),
        lambda **kwargs: keras.layers.Dense(5, **kwargs),
    ],
)
def test_a_layer_run_anew_is_itself(make, use_bias: bool) -> None:
    x = RNG.normal(size=(2, 7, 6, 3)).astype("float32")
    layer = make(activation="relu", use_bias=use_bias, bias_initializer="ones")
    expected = ops.convert_to_numpy(layer(x))
    actual = ops.convert_to_numpy(finish(layer, run(layer, ops.convert_to_tensor(x))))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    assert filters_of(layer) == expected.shape[-1]


def test_a_causal_convolution_sees_the_past_only() -> None:
    x = RNG.normal(size=(2, 7, 3)).astype("float32")
    layer = keras.layers.Conv1D(4, 3, padding="causal", dilation_rate=2)
    expected = ops.convert_to_numpy(layer(x))
    actual = ops.convert_to_numpy(finish(layer, run(layer, ops.convert_to_tensor(x))))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"center": False}, {"scale": False, "epsilon": 0.1}])
def test_a_normalisation_at_inference_is_a_scale_and_a_shift(options: dict) -> None:
    x = RNG.normal(size=(2, 6, 3)).astype("float32")
    layer = keras.layers.BatchNormalization(**options)
    layer.build(x.shape)
    for variable in layer.weights:
        variable.assign(np.abs(RNG.normal(size=3)) + 0.5)
    scale, shift = affine_of(layer)
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), x * scale + shift, atol=1e-5)


def test_fresh_initializers_draw_anew_and_seeded_ones_repeat() -> None:
    def draws(initializer: keras.initializers.Initializer) -> list[np.ndarray]:
        return [ops.convert_to_numpy(fresh_initializer(initializer)((4, 4))) for _ in range(2)]

    first, second = draws(keras.initializers.GlorotNormal())
    assert not np.array_equal(first, second)
    first, second = draws(keras.initializers.GlorotNormal(seed=1))
    np.testing.assert_array_equal(first, second)


def test_the_owner_is_named_in_errors() -> None:
    with pytest.raises(TypeError, match="`layer` of Owner"):
        check_layer(keras.layers.ReLU(), "Owner")
    with pytest.raises(ValueError, match="Owner works on channels-last"):
        check_layer(keras.layers.Conv1D(1, 3, data_format="channels_first"), "Owner")
    with pytest.raises(ValueError, match="Owner sits on the centre tap"):
        check_layer(keras.layers.Conv1D(1, 2), "Owner")
    check_layer(keras.layers.Conv1D(1, 2), "Owner", odd=False)
