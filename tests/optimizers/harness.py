"""What both optimizers owe beside their update."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops

RNG = np.random.default_rng(0)
START = RNG.normal(size=(4, 3))
GRADIENTS = RNG.normal(size=(6, 4, 3))


def steps(optimizer: keras.optimizers.Optimizer) -> np.ndarray:
    """The weight after all of GRADIENTS."""
    variable = keras.Variable(START.astype("float32"))
    for gradient in GRADIENTS:
        optimizer.apply([ops.convert_to_tensor(gradient.astype("float32"))], [variable])
    return ops.convert_to_numpy(variable)


def linear(optimizer: keras.optimizers.Optimizer) -> keras.Model:
    """x W under a mean of squares, compiled."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, use_bias=False)])
    model.layers[0].kernel.assign(START)
    model.compile(optimizer, loss="mean_squared_error")
    return model


def check_fit(
    make: Callable[[], keras.optimizers.Optimizer],
    oracle: Callable[[Callable[[np.ndarray], np.ndarray]], np.ndarray],
    folder: pathlib.Path,
) -> None:
    """Four compiled steps follow the oracle, also where a save and a load lie between them."""
    x, y = RNG.normal(size=(8, 4)), RNG.normal(size=(8, 3))
    batch = {"x": x.astype("float32"), "y": y.astype("float32")}
    model = linear(make())
    model.fit(**batch, batch_size=8, epochs=2, verbose=0)
    model.save(folder / "model.keras")
    resumed = keras.saving.load_model(folder / "model.keras")
    assert type(resumed.optimizer) is type(model.optimizer)
    for network in (model, resumed):
        network.fit(**batch, batch_size=8, epochs=2, verbose=0)
        expected = oracle(lambda weight: 2 * x.T @ (x @ weight - y) / y.size)
        actual = ops.convert_to_numpy(network.layers[0].kernel)
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def check_config(cls: type[keras.optimizers.Optimizer]) -> None:
    """The configuration holds the penalty, and gives the same optimizer back."""
    optimizer = cls(0.25, l2=0.125, clipnorm=1.0)
    config = keras.optimizers.serialize(optimizer)
    again = keras.optimizers.deserialize(config)
    assert type(again) is cls
    assert again.l2 == 0.125
    assert again.get_config() == optimizer.get_config()


def check_refusals(cls: type[keras.optimizers.Optimizer]) -> None:
    """A negative penalty and a second kind of decay are refused."""
    with pytest.raises(ValueError, match="must not be negative.*l2=-0.1"):
        cls(0.1, l2=-0.1)
    with pytest.raises(ValueError, match="weight_decay=0.01"):
        cls(0.1, l2=0.1, weight_decay=0.01)
