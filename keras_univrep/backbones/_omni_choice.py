"""Which layers of a network get the branches of an Omni-Net."""

import re
from collections.abc import Callable, Sequence

import keras

from keras_univrep.backbones.adaptable_layers import leaves
from keras_univrep.layers import OmniLayer

Choice = str | Sequence[str] | Callable[[str, keras.layers.Layer], bool]


def choose_omni_layers(
    trunk: keras.Model, layers: Choice = "all", start: str | None = None
) -> dict[str, keras.layers.Layer]:
    """Returns the layers that get branches, by name, in the trunk's order.

    Args:
        trunk: A built Keras model.
        layers: As for `OmniNet`.
        start: As for `OmniNet`.

    Raises:
        ValueError: If an expression matches nothing, or no layer is chosen.
        TypeError: If one matches only layers that can have no branch.
    """
    candidates: dict[str, keras.layers.Layer] = {}
    refusals: dict[str, Exception] = {}
    for name, layer in leaves(trunk):
        try:
            OmniLayer(layer, name="probe")
        except (TypeError, ValueError) as error:
            refusals[name] = error
        else:
            candidates[name] = layer
    if callable(layers):
        chosen = {name for name, layer in candidates.items() if layers(name, layer)}
    else:
        words = [layers] if isinstance(layers, str) else list(layers)
        chosen = {name for word in words for name in _found(candidates, refusals, word)}
    names = list(candidates)
    if start is not None:
        matching = [name for name in names if re.fullmatch(start, name)]
        if not matching:
            raise ValueError(
                f"`start` must match a layer that can have a branch: {names}. Received: "
                f"start={start!r}. Pass a name or a regular expression of one."
            )
        names = names[names.index(matching[0]) :]
    names = [name for name in names if name in chosen]
    if not names:
        raise ValueError(
            f"`layers` must choose at least one layer that can have a branch: {list(candidates)}. "
            f"Received: layers={layers!r}, start={start!r}. Pass 'all'."
        )
    return {name: candidates[name] for name in names}


def _found(
    candidates: dict[str, keras.layers.Layer], refusals: dict[str, Exception], word: str
) -> list[str]:
    """The names that "all" or a regular expression stands for."""
    names = [name for name in candidates if word == "all" or re.fullmatch(word, name)]
    if names:
        return names
    for name, error in refusals.items():
        if re.fullmatch(word, name):
            raise TypeError(f"{name!r} can have no branch. {error}") from error
    raise ValueError(
        f"Each expression of `layers` must match a layer that can have a branch: "
        f"{list(candidates)}. Received: {word!r}, which matches none."
    )
