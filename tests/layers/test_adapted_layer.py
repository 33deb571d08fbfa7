"""What the adapters of a convolution have in common."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import ParallelAdapter, SeriesAdapter
from keras_univrep.layers.convolution_adapter import (
    check_convolution,
    convolve,
    fresh_initializer,
    restore_convolution,
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
    again = restore_convolution(keras.saving.serialize_keras_object(convolution))
    assert not again.built
    assert again.get_config() == convolution.get_config()


@pytest.mark.parametrize("use_bias", [False, True])
def test_a_convolution_with_its_own_kernel_is_itself(use_bias: bool) -> None:
    x = RNG.normal(size=(2, 6, 6, 3)).astype("float32")
    convolution = keras.layers.Conv2D(
        4, 3, activation="relu", use_bias=use_bias, bias_initializer="ones"
    )
    expected = ops.convert_to_numpy(convolution(x))
    actual = convolve(convolution, ops.convert_to_tensor(x), convolution.kernel.value)
    np.testing.assert_array_equal(ops.convert_to_numpy(actual), expected)


def test_the_branch_comes_before_bias_and_activation() -> None:
    x = ops.zeros((1, 3, 3, 2))
    convolution = keras.layers.Conv2D(1, 3, activation="relu", bias_initializer="ones")
    convolution.build((None, 3, 3, 2))
    branch = ops.full((1, 1, 1, 1), -3.0)
    assert float(convolve(convolution, x, convolution.kernel.value, branch)[0, 0, 0, 0]) == 0.0
    assert float(convolve(convolution, x, convolution.kernel.value, -branch)[0, 0, 0, 0]) == 4.0


def test_fresh_initializers_draw_anew_and_seeded_ones_repeat() -> None:
    def draws(initializer: keras.initializers.Initializer) -> list[np.ndarray]:
        return [ops.convert_to_numpy(fresh_initializer(initializer)((4, 4))) for _ in range(2)]

    first, second = draws(keras.initializers.GlorotNormal())
    assert not np.array_equal(first, second)
    first, second = draws(keras.initializers.GlorotNormal(seed=1))
    np.testing.assert_array_equal(first, second)


def test_the_owner_is_named_in_errors() -> None:
    with pytest.raises(TypeError, match="`convolution` of Owner"):
        check_convolution(keras.layers.Dense(1), "Owner")
    with pytest.raises(ValueError, match="Owner works on channels-last"):
        check_convolution(keras.layers.Conv1D(1, 3, data_format="channels_first"), "Owner")
