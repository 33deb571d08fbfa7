"""Which layers of a network an adapter can take, and which of them a placement chooses."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np

from keras_univrep.layers import (
    DeepAdaptation,
    DomainCopy,
    ParallelAdapter,
    PiggybackMask,
    SeriesAdapter,
)
from keras_univrep.layers.adapted_layer import CONVOLUTIONS
from keras_univrep.layers.domain_bank import DomainBank

ADAPTERS: dict[str, type[DomainBank]] = {
    "parallel": ParallelAdapter,
    "series": SeriesAdapter,
    "piggyback": PiggybackMask,
    "deep_adaptation": DeepAdaptation,
    "copy": DomainCopy,
}
PLACEMENTS = ("all", "half", "stem", "early", "mid", "late")
NORMALIZING = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
)

Placement = str | Sequence[str] | Callable[[str, keras.layers.Layer], bool]


def adaptable_layers(trunk: keras.Model, adapter: str = "parallel") -> list[str]:
    """Returns the names of the layers of a network that an adapter can take.

    Args:
        trunk: A built Keras model.
        adapter: Kind of the adapter, as for `AdaptedBackbone`.

    Returns:
        Names like "block1/convolution", in the order in which the network holds its layers.

    Example:
        >>> from keras_univrep.backbones import ResNet26, adaptable_layers
        >>> adaptable_layers(ResNet26(width=0.25))[:2]
        ['stem/convolution', 'early_block1/unit1/convolution']
    """
    return [name for name, layer in leaves(trunk) if _refusal(adapter, layer) is None]


def leaves(layer: keras.layers.Layer) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Walks the layers with weights of their own, once each, with names like "block1/conv2".

    Args:
        layer: A built Keras layer or model.
    """
    seen: set[int] = set()

    def walk(parent: keras.layers.Layer, prefix: str) -> Iterator[tuple[str, keras.layers.Layer]]:
        used: dict[str, int] = {}
        # Keras lists the parts of a plain layer nowhere in public; a model's `layers` is this.
        for part in parent._layers:
            count = used[part.name] = used.get(part.name, 0) + 1
            name = f"{prefix}{part.name}" + (f"_{count}" if count > 1 else "")
            if id(part) in seen:
                continue
            seen.add(id(part))
            if part.weights and not any(inner.weights for inner in part._layers):
                yield name, part
            else:
                yield from walk(part, f"{name}/")

    return walk(layer, "")


def choose_layers(
    trunk: keras.Model, adapter: str, placement: Placement
) -> list[tuple[str, keras.layers.Layer]]:
    """Resolves a placement to layers, in the trunk's order.

    Args:
        trunk: A built Keras model.
        adapter: Kind of the adapter, as for `AdaptedBackbone`.
        placement: As for `AdaptedBackbone`. Convolutions that a word leaves out, because no such
            adapter takes them, are named in a warning.

    Raises:
        TypeError: If a name or expression matches no layer but those that cannot be adapted.
        ValueError: Likewise; or if it matches nothing, or no layer is chosen at all.
    """
    candidates: dict[str, keras.layers.Layer] = {}
    refusals: dict[str, Exception] = {}
    for name, layer in leaves(trunk):
        refusal = _refusal(adapter, layer)
        if refusal is None:
            candidates[name] = layer
        else:
            refusals[name] = refusal
    if callable(placement):
        names = [name for name, layer in candidates.items() if placement(name, layer)]
    else:
        wanted = [placement] if isinstance(placement, str) else list(placement)
        found = {name for word in wanted for name in _found(candidates, refusals, word)}
        if any(word in PLACEMENTS for word in wanted):
            _warn_of_left_out(trunk, refusals)
        names = [name for name in candidates if name in found]
    if not names:
        raise ValueError(
            "`placement` must choose at least one layer that can be adapted: "
            f"{list(candidates)}. Received: placement={placement!r}. Pass a name, a regular "
            "expression, or a function of name and layer."
        )
    return [(name, candidates[name]) for name in names]


def _warn_of_left_out(trunk: keras.Model, refusals: Mapping[str, Exception]) -> None:
    """Tells of convolutions that a word such as "all" would mean, but no adapter takes."""
    layers = dict(leaves(trunk))
    left_out = [name for name in refusals if np.max(getattr(layers[name], "kernel_size", 1)) > 1]
    if left_out:
        kinds = sorted({type(layers[name]).__name__ for name in left_out})
        warnings.warn(
            f"{trunk.name} has convolutions ({', '.join(kinds)}) that are left out, as no adapter "
            f"of this kind takes them, {len(left_out)} in all: {left_out[:3]}. The first: "
            f"{refusals[left_out[0]]}",
            stacklevel=4,
        )


def _refusal(adapter: str, layer: keras.layers.Layer) -> Exception | None:
    """Why an adapter cannot take a layer, or `None` if it can."""
    if adapter == "copy" and isinstance(layer, NORMALIZING):
        return ValueError("Normalisations are copied by `normalization='domain'`.")
    try:
        ADAPTERS[adapter](layer, name="probe")
    except (TypeError, ValueError) as error:
        return error
    return None


def _found(
    candidates: Mapping[str, keras.layers.Layer], refusals: Mapping[str, Exception], word: str
) -> list[str]:
    """The names that a word of a placement or a regular expression stands for."""
    if word in PLACEMENTS:
        return _placed(candidates, word)
    names = [name for name in candidates if re.fullmatch(word, name)]
    if names:
        return names
    for name, error in refusals.items():
        if re.fullmatch(word, name):
            raise type(error)(f"{name!r} cannot be adapted. {error}") from error
    raise ValueError(
        f"Each expression of `placement` must match a layer that can be adapted: "
        f"{list(candidates)}. Received: {word!r}, which matches none."
    )


def _placed(candidates: Mapping[str, keras.layers.Layer], word: str) -> list[str]:
    kinds = (*CONVOLUTIONS, keras.layers.DepthwiseConv2D)
    spatial = [
        name
        for name, layer in candidates.items()
        if isinstance(layer, kinds) and max(layer.kernel_size) > 1
    ]
    stem, rest = spatial[:1], spatial[1:]
    if word in ("early", "mid", "late"):
        third = np.array_split(np.arange(len(rest)), 3)[("early", "mid", "late").index(word)]
        return [rest[index] for index in third]
    return {"all": spatial, "stem": stem, "half": rest[1::2]}[word]
