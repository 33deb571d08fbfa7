"""Writes ONNX files that hold each weight once; runs on TensorFlow."""

import pathlib
from collections.abc import Container, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Tensor


def write_onnx(model: keras.Model, path: pathlib.Path) -> None:
    """Writes a functional model of one batch of images.

    A converter merges what is known when it converts, such as a trunk's kernel with an adapter's,
    and so writes the trunk again for each domain. Here it is given the weights as inputs, which are
    made constants of the file afterwards: a runtime merges them when it reads the file.
    """
    import onnx

    weights = [w for w in model.weights if keras.backend.is_float_dtype(w.dtype)]
    # Inputs, outputs and weights of a graph have names of one space.
    entry = _free("images", model.output)
    names = [_free(f"weight{number}", model.output) for number in range(len(weights))]
    inputs = [
        keras.Input(batch_shape=w.shape, dtype=w.dtype, name=name)
        for w, name in zip(weights, names, strict=True)
    ]
    images = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
    given = keras.Model([images, *inputs], _WithWeights(model, weights)([images, *inputs]))
    spec = [
        keras.InputSpec(shape=x.shape, dtype=x.dtype, name=name)
        for x, name in zip(given.inputs, [entry, *names], strict=True)
    ]
    given.export(str(path), format="onnx", input_signature=[spec], verbose=False)
    proto = onnx.load(path)
    graph = proto.graph
    used = {name for node in graph.node for name in node.input}
    kept = [value for value in graph.input if value.name not in names]
    del graph.input[:]
    graph.input.extend(kept)
    graph.initializer.extend(
        onnx.numpy_helper.from_array(ops.convert_to_numpy(weight), name)
        for weight, name in zip(weights, names, strict=True)
        if name in used
    )
    path.write_bytes(proto.SerializeToString())


def _free(name: str, taken: Container[str]) -> str:
    """A name that no output has."""
    while name in taken:
        name += "_"
    return name


class _WithWeights(keras.layers.Layer):
    """A network whose weights are inputs."""

    def __init__(self, network: keras.Model, variables: Sequence[keras.Variable]) -> None:
        super().__init__(name="with_weights")
        self.network = network
        self.variables_given = list(variables)

    def call(self, inputs: Sequence[Tensor]) -> Any:
        images, *values = inputs
        mapping = list(zip(self.variables_given, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return self.network(images, training=False)
