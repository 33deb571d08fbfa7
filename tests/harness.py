"""What every layer owes: values, gradients, round trips, frozen parts."""

from __future__ import annotations

import inspect
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep import backend

# With its dependencies it would bring a second TensorFlow.
HOW_TO_INSTALL_KERAS_HUB = "pip install --no-deps keras-hub kagglehub kagglesdk==0.1.28 regex"

Weights = dict[str, np.ndarray]
Oracle = Callable[[np.ndarray, Weights], np.ndarray]


def randomize(layer: keras.layers.Layer, seed: int = 0) -> None:
    """Draws every weight of a built layer anew; moving variances stay positive."""
    rng = np.random.default_rng(seed)
    for variable in _floats(layer):
        value = rng.normal(scale=0.5, size=tuple(variable.shape))
        variable.assign(np.abs(value) + 0.5 if "variance" in variable.path else value)


def weights_of(layer: keras.layers.Layer) -> Weights:
    """Float64 copies of a layer's weights, by their path below the layer."""
    return {_path(v): ops.convert_to_numpy(v).astype("float64") for v in _floats(layer)}


def bits(layer: keras.layers.Layer) -> Weights:
    """Exact copies of a layer's weights, by path."""
    return {v.path: ops.convert_to_numpy(v).copy() for v in layer.weights}


def check_layer(
    layer: keras.layers.Layer,
    inputs: np.ndarray,
    oracle: Oracle,
    folder: pathlib.Path,
    frozen: Sequence[str] = (),
    rtol: float = 1e-4,
    **arguments: Any,
) -> None:
    """Raises an error unless `layer` does what every layer owes.

    Args:
        layer: A layer, built or not, with a name.
        inputs: Float64 inputs, (batch, ..., channels).
        oracle: Outputs from the inputs and the weights by path, all in float64 NumPy.
        folder: Where to save.
        frozen: Names of the layer's attributes, layers too, that a training step must not move.
        rtol: Tolerance, relative to the largest expected number.
        **arguments: Arguments of the call, such as the domain.
    """
    layer.build(inputs.shape)
    randomize(layer)
    check_values(layer, inputs, oracle, rtol, **arguments)
    check_gradients(layer, inputs, oracle, rtol, **arguments)
    check_config(layer)
    loaded = check_saving(layer, inputs, folder, **arguments)
    check_step(loaded, layer.name, inputs, frozen)


def check_values(
    layer: keras.layers.Layer, inputs: np.ndarray, oracle: Oracle, rtol: float, **arguments: Any
) -> None:
    """Outputs, and their static shape, are those of the oracle."""
    expected = oracle(inputs, weights_of(layer))
    outputs = layer(inputs.astype("float32"), **arguments)
    _close(ops.convert_to_numpy(outputs), expected, rtol)
    assert tuple(layer.compute_output_shape(inputs.shape)) == expected.shape


def check_gradients(
    layer: keras.layers.Layer,
    inputs: np.ndarray,
    oracle: Oracle,
    rtol: float,
    entries: int = 4,
    **arguments: Any,
) -> None:
    """Gradients of sum(c y) by the inputs and each weight are the oracle's central differences."""
    rng = np.random.default_rng(1)
    weights = weights_of(layer)
    cotangent = rng.normal(size=oracle(inputs, weights).shape)
    variables = layer.trainable_variables
    _, _, pullback = backend.vjp(
        lambda x: (layer(x, **arguments), None),
        variables,
        [ops.convert_to_tensor(inputs.astype("float32"))],
    )
    by_variable, (by_inputs,) = pullback(ops.convert_to_tensor(cotangent.astype("float32")))
    # The oracle reads these very arrays, so that changing an entry in place moves its output.
    pairs = [(inputs.copy(), by_inputs)]
    pairs += [(weights[_path(v)], grad) for v, grad in zip(variables, by_variable)]
    x = pairs[0][0]
    for array, gradient in pairs:
        gradient = ops.convert_to_numpy(gradient).reshape(-1)
        picked = rng.choice(array.size, min(entries, array.size), replace=False)
        expected = []
        for index in picked:
            before, step = array.flat[index], 1e-5
            sums = []
            for sign in (1, -1):
                array.flat[index] = before + sign * step
                sums.append(np.sum(cotangent * oracle(x, weights)))
            array.flat[index] = before
            expected.append((sums[0] - sums[1]) / (2 * step))
        _close(gradient[picked], np.array(expected), 10 * rtol, scale=np.abs(gradient).max())


def check_config(layer: keras.layers.Layer) -> None:
    """The configuration holds every argument, and gives a layer with the same configuration."""
    parameters = inspect.signature(type(layer).__init__).parameters.values()
    named = {p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD} - {"self"}
    assert named | {"name", "dtype"} <= set(layer.get_config())
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


def check_saving(
    layer: keras.layers.Layer, inputs: np.ndarray, folder: pathlib.Path, **arguments: Any
) -> keras.Model:
    """A saved model gives back every bit of weights and outputs; returns the loaded model."""
    entry = keras.Input(inputs.shape[1:])
    model = keras.Model(entry, layer(entry, **arguments))
    model.save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras")
    before, after = bits(layer), bits(loaded.get_layer(layer.name))
    assert list(map(_below, before)) == list(map(_below, after))
    for (path, value), other in zip(before.items(), after.values()):
        np.testing.assert_array_equal(value, other, err_msg=path)
    x = inputs.astype("float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(model(x)), ops.convert_to_numpy(loaded(x)))
    return loaded


def check_step(
    model: keras.Model, name: str, inputs: np.ndarray, frozen: Sequence[str] = ()
) -> None:
    """One compiled step moves no bit of what is frozen, and some weight that is not."""
    layer = model.get_layer(name)
    for part in frozen:
        getattr(layer, part).trainable = False
    still = {v.path for v in layer.non_trainable_variables if "moving" not in v.path}
    model.compile(keras.optimizers.SGD(0.1), loss="mean_squared_error")
    before = bits(layer)
    x = inputs.astype("float32")
    model.fit(x, np.ones((len(x), *model.output_shape[1:]), "float32"), len(x), verbose=0)
    after = bits(layer)
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert not moved & still
    trainable = {variable.path for variable in layer.trainable_variables}
    assert not trainable or moved & trainable


def _floats(layer: keras.layers.Layer) -> list[keras.Variable]:
    return [variable for variable in layer.weights if "seed" not in variable.path]


def _path(variable: keras.Variable) -> str:
    return _below(variable.path)


def _below(path: str) -> str:
    return path.split("/", 1)[1]


def _close(
    actual: np.ndarray, expected: np.ndarray, rtol: float, scale: float | None = None
) -> None:
    scale = np.abs(expected).max(initial=0.0) if scale is None else scale
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * max(scale, 1e-3))
