"""`FiLMGenerator`: nothing changes at first, and the adaptation network in NumPy."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import FiLMGenerator
from tests.harness import bits, check_config, randomize, weights_of

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(3, 6)).astype("float32")


def oracle(z: np.ndarray, w: dict[str, np.ndarray], count: int) -> np.ndarray:
    """(2, episodes, count, filters): what is added to the scales 1 and the shifts 0."""
    shared = np.maximum(z @ w["kernel"] + w["bias"], 0)
    outputs = np.zeros((2, len(z), count, shared.shape[-1]))
    for kind in range(2):
        for layer in range(count):
            x, place = shared, kind * count + layer
            for number in range(3):
                x = np.maximum(x, 0) if number else x
                kernel = w[f"residual_kernel{number}"][place]
                x = x @ kernel + w[f"residual_bias{number}"][place, 0] + x
            outputs[kind, :, layer] = w["scale"][kind, layer] * x
    return outputs


def test_a_fresh_generator_changes_nothing() -> None:
    gamma, beta = FiLMGenerator(4, 3)(Z)
    np.testing.assert_array_equal(ops.convert_to_numpy(gamma), np.ones((3, 3, 4)))
    np.testing.assert_array_equal(ops.convert_to_numpy(beta), np.zeros((3, 3, 4)))


def test_a_fresh_generator_can_learn() -> None:
    layer = FiLMGenerator(4, 2)
    layer.build(Z.shape)
    _, _, pullback = backend.vjp(
        lambda: (ops.sum(layer(ops.convert_to_tensor(Z))[0]), None), layer.trainable_variables
    )
    gradients, _ = pullback(ops.ones(()))
    scale = next(g for v, g in zip(layer.trainable_variables, gradients) if v is layer.scale)
    assert np.abs(ops.convert_to_numpy(scale)[0]).max() > 1e-3


@pytest.mark.parametrize("count", [1, 3])
def test_outputs_are_the_networks_of_the_paper(count: int) -> None:
    layer = FiLMGenerator(4, count)
    layer.build(Z.shape)
    randomize(layer)
    gamma, beta = layer(Z)
    expected = oracle(Z.astype("float64"), weights_of(layer), count)
    np.testing.assert_allclose(ops.convert_to_numpy(gamma), 1 + expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(beta), expected[1], rtol=1e-4, atol=1e-5)
    assert layer.compute_output_shape((None, 6)) == ((None, count, 4), (None, count, 4))


def test_parameters_start_apart() -> None:
    layer = FiLMGenerator(4, 2, scale_initializer="ones")
    gamma, beta = (ops.convert_to_numpy(value) for value in layer(Z))
    every = [gamma[:, 0] - 1, gamma[:, 1] - 1, beta[:, 0], beta[:, 1]]
    assert all(np.abs(a - b).max() > 1e-3 for i, a in enumerate(every) for b in every[:i])


def test_scales_are_regularised() -> None:
    layer = FiLMGenerator(4, 2, "ones", keras.regularizers.L2(0.01))
    layer(Z)
    assert float(sum(layer.losses)) == pytest.approx(0.01 * 2 * 2 * 4)


def test_a_saved_network_that_holds_it_gives_the_same(tmp_path: pathlib.Path) -> None:
    layer = FiLMGenerator(4, 2, scale_regularizer="l2", name="generator")
    check_config(layer)
    entry = keras.Input((6,))
    model = keras.Model(entry, layer(entry))
    randomize(layer)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for value, other in zip(bits(layer).values(), bits(loaded).values()):
        np.testing.assert_array_equal(value, other)


@pytest.mark.parametrize("options", [{"filters": 0}, {"filters": 4, "count": 0}])
def test_sizes_that_are_not_positive_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="must be a positive integer. Received"):
        FiLMGenerator(**options)
