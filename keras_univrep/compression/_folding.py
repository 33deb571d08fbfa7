"""Which batch normalisations of a functional model can go into the layer before them."""

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras

from keras_univrep.backbones.adaptable_layers import leaves
from keras_univrep.layers import BatchNormalization
from keras_univrep.layers.adapted_layer import check_layer

NORMALIZATIONS = (keras.layers.BatchNormalization.call, BatchNormalization.call)


class _Tensor(NamedTuple):
    """A tensor of a graph: the layer that it comes from, call and output of it, and its rank."""

    layer: str
    place: tuple[int, int]
    rank: int = 0


def graph_of(model: keras.layers.Layer) -> keras.Model | None:
    """Returns the layers of a functional or sequential model as a plain functional model.

    Args:
        model: Any layer.

    Returns:
        A model of the very same layers, or `None` where they are called by code.
    """
    kind = type(model)
    if isinstance(model, keras.Sequential):
        # Without a known input shape there is no graph.
        if kind.call is not keras.Sequential.call or not getattr(model, "inputs", None):
            return None
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    if isinstance(model, _functional()) and kind.call is _functional().call:
        return keras.Model(model.input, model.output, name=model.name)
    return None


def foldable(trunk: keras.Model) -> dict[str, str]:
    """Returns the layers whose output goes to a batch normalisation, and nowhere else.

    Args:
        trunk: A model with a graph.

    Returns:
        The normalisations by the layers that they can be folded into; names as `leaves` gives.
    """
    names = {id(layer): name for name, layer in leaves(trunk)}
    calls: Counter[int] = Counter()
    found: list[tuple[keras.layers.Layer, keras.layers.Layer]] = []
    visited: set[int] = set()

    def visit(graph: keras.Model) -> None:
        config = graph.get_config()
        layers = {layer.name: layer for layer in graph.layers}
        inputs = {
            entry["name"]: [list(_flatten(node)) for node in entry["inbound_nodes"]]
            for entry in config["layers"]
        }
        uses = Counter(
            tensor[:2]
            for nodes in inputs.values()
            for node in nodes
            for tensor in node
            if isinstance(tensor, _Tensor)
        )
        uses.update(tensor[:2] for tensor in _flatten(config["output_layers"]))
        for name, layer in layers.items():
            calls[id(layer)] += len(inputs[name])
            inner = graph_of(layer)
            if inner is not None and id(layer) not in visited:
                visited.add(id(layer))
                visit(inner)
            if type(layer).call in NORMALIZATIONS and len(inputs[name]) == 1:
                before = _only_tensor(inputs[name][0])
                if (
                    before is not None
                    and uses[before[:2]] == 1
                    and layer.axis in (-1, before.rank - 1)
                    and _takes_scale(layers.get(before.layer))
                ):
                    found.append((layers[before.layer], layer))

    graph = graph_of(trunk)
    if graph is not None:
        visit(graph)
    return {
        names[id(layer)]: names[id(normalization)]
        for layer, normalization in found
        if calls[id(layer)] == calls[id(normalization)] == 1
    }


@functools.cache
def _functional() -> Any:
    """The class of functional models, which has no public name."""
    entry = keras.Input((1,))
    return type(keras.Model(entry, entry))


def _flatten(value: Any) -> Iterator[Any]:
    """The tensors and plain values of a call, or the outputs of a model, in a configuration."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        history = value["config"]["keras_history"]
        yield _Tensor(history[0], tuple(history[1:]), len(value["config"]["shape"]))
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _flatten(inner)
    elif isinstance(value, (list, tuple)):
        if len(value) == 3 and isinstance(value[0], str) and isinstance(value[1], int):
            yield _Tensor(value[0], tuple(value[1:]))
        else:
            for inner in value:
                yield from _flatten(inner)
    else:
        yield value


def _only_tensor(arguments: list[Any]) -> _Tensor | None:
    """The input of a normalisation that is called with one, and not told to be training."""
    tensors = [value for value in arguments if isinstance(value, _Tensor)]
    training = any(value is True for value in arguments)
    return tensors[0] if len(tensors) == 1 and not training else None


def _takes_scale(layer: keras.layers.Layer | None) -> bool:
    """Whether the outputs of a layer are linear in its kernel and bias."""
    try:
        check_layer(layer, "fuse", odd=False)
    except (TypeError, ValueError):
        return False
    return layer is not None and layer.activation in (None, keras.activations.linear)
