"""Calls a network whose activations are changed on their way, by numbers of one call."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.backbones._rerouted import call_of, rerouted
from keras_univrep.backbones.adaptable_layers import NORMALIZING, leaves
from keras_univrep.types import Tensor


def call_modulated(
    backbone: keras.Model,
    images: Tensor,
    layers: Sequence[str],
    after: Callable[[str, Tensor], Tensor],
    before: Callable[[str, Tensor], None] | None = None,
    training: bool | None = None,
    average: bool = True,
) -> Tensor:
    """Returns the features of images, with the outputs of some layers changed in this one call.

    This is how FiLM enters a network that knows nothing of it: functional or subclassed, its
    weights and its own call stay as they are.

    Args:
        backbone: A built model of images that returns features (batch, channels), or maps
            (batch, height, width, channels), which are averaged over positions.
        images: What the backbone takes.
        layers: Names of layers, as `film_layers` gives them.
        after: Called with the name and the outputs of each of these layers; what it returns stands
            in for the outputs.
        before: Called with the name of one of these layers and what enters the part of the
            backbone that holds it (the residual block, for one), before that part runs.
        training: As for the backbone.
        average: Whether to average maps over positions.

    Returns:
        Features of shape (batch, channels), in the backbone's dtype, or what the backbone returns
        if nothing is averaged.

    Raises:
        ValueError: If a layer is unknown.

    Example:
        >>> import numpy as np
        >>> from keras import ops
        >>> from keras_univrep.backbones import ResNet18, call_modulated, film_layers
        >>> network = ResNet18(width=0.125)
        >>> last = film_layers(network)[-1]
        >>> features = call_modulated(
        ...     network, np.ones((2, 32, 32, 3), "float32"), [last], lambda name, y: y - 1e6
        ... )
        >>> float(ops.max(features))
        0.0
    """
    known = dict(leaves(backbone))
    unknown = [name for name in layers if name not in known]
    if unknown:
        raise ValueError(
            f"`layers` must be names of layers of {backbone.name}: {list(known)}. Received: "
            f"{unknown}. Take them from `film_layers`."
        )
    calls: list[tuple[keras.layers.Layer, Callable[..., Tensor]]] = []
    for name in layers:
        calls.append((known[name], _with_after(call_of(known[name]), name, after)))
    for name in layers if before is not None else ():
        part = part_of(backbone, known[name])
        # A part that is the layer itself, or holds several of them, is wrapped once more.
        inner = next((call for layer, call in reversed(calls) if layer is part), call_of(part))
        calls.append((part, _with_before(inner, name, before)))
    with rerouted(calls):
        features = backbone(images, training=training)
    axes = tuple(range(1, len(features.shape) - 1))
    if axes and average:
        # A mean of low precision would lose what the maps have.
        mean = ops.mean(ops.cast(features, "float32"), axis=axes)
        features = ops.cast(mean, backbone.compute_dtype)
    return features


def film_layers(backbone: keras.Model, pattern: str | Sequence[str] | None = None) -> list[str]:
    """Returns the names of the normalisations after which FiLM may stand, in the network's order.

    Args:
        backbone: A built model of images.
        pattern: Regular expressions of names; by default the backbone's `film_pattern` if it has
            one (`ResNet18`: the normalisations of its blocks, as in CNAPS), or all.

    Returns:
        Names like "stage1_block1/unit1/normalization".

    Raises:
        ValueError: If there is none.

    Example:
        >>> from keras_univrep.backbones import ResNet18, film_layers
        >>> names = film_layers(ResNet18(width=0.125))
        >>> len(names), names[0]
        (16, 'stage1_block1/unit1/normalization')
    """
    if pattern is None:
        pattern = getattr(backbone, "film_pattern", ".*")
    words = [pattern] if isinstance(pattern, str) else list(pattern)
    known = [name for name, layer in leaves(backbone) if isinstance(layer, NORMALIZING)]
    names = [name for name in known if any(re.fullmatch(word, name) for word in words)]
    if not names:
        raise ValueError(
            f"`pattern` must match a normalisation of {backbone.name}: {known}. Received: "
            f"{pattern!r}. Pass names or regular expressions of these."
        )
    return names


def part_of(backbone: keras.Model, layer: keras.layers.Layer) -> keras.layers.Layer:
    """The layer of a backbone's own that is, or holds, a layer.

    Args:
        backbone: A built model.
        layer: A layer somewhere in it.
    """
    for part in backbone._layers:
        if part is layer or any(inner is layer for _, inner in leaves(part)):
            return part
    return layer


def _with_after(
    call: Callable[..., Tensor], name: str, after: Callable[[str, Tensor], Tensor]
) -> Callable[..., Tensor]:
    return lambda *args, **kwargs: after(name, call(*args, **kwargs))


def _with_before(call: Callable[..., Tensor], name: str, before: Any) -> Callable[..., Tensor]:
    def wrapped(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        before(name, inputs)
        return call(inputs, *args, **kwargs)

    return wrapped
