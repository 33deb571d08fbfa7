"""Adds the domain of a file to a network."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_univrep.backbones.adapted_backbone import AdaptedBackbone
from keras_univrep.models._trunk_fingerprint import trunk_fingerprint
from keras_univrep.models.domain_pack import (
    DomainPack,
    adapted_backbone_of,
    layers_of,
    read_pack,
    variables_of,
)
from keras_univrep.models.multi_domain_model import MultiDomainModel

# What of an adapter's options ends with the training; the weights that came of it are in the pack.
_FOR_TRAINING = {"dropout", "initial_value", "reinitialize"}


def load_domain_pack(
    model: MultiDomainModel, path: str | os.PathLike, name: str | None = None
) -> DomainPack:
    """Adds the domain of a pack to a network with the same trunk.

    Every other domain's predictions stay bit-identical. If anything does not fit, the network is
    left as it was, and compiled if it was. Compile anew before training.

    The trunk is the same where its structure and weights are: layers may have other names, as those
    that Keras chose have in another process, and the network may compute in mixed precision. A
    trunk whose weights themselves are of low precision is another one.

    Args:
        model: A network over an `AdaptedBackbone` with the trunk, and the kind and options of
            adapters, that the pack was made with; their dropout may differ.
        path: A file that `save_domain_pack` wrote.
        name: What to call the domain here; the pack's name by default.

    Returns:
        What the pack says of itself.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If the backbone is no `AdaptedBackbone`.
        ValueError: If the file is damaged, belongs to another trunk, kind or options of adapters,
            or the name is already in use.

    Example:
        See `save_domain_pack`.
    """
    backbone = adapted_backbone_of(model)
    pack, arrays = read_pack(path)
    name = pack.domain if name is None else name
    taken = list(dict.fromkeys([*model.domains, *backbone.domains]))
    if name in taken:
        raise ValueError(
            f"`name` must be new to the network, which has {taken}. Received: name={name!r}. Pass "
            "another `name`, or remove that domain first."
        )
    _check_adapters(pack, backbone)
    _check_trunk(pack, backbone)
    _check_arrays(pack, arrays, model)
    model.add_domain(name, pack.num_classes)
    for key, variable in variables_of(model, name).items():
        variable.assign(arrays[key])
    return pack


def _check_adapters(pack: DomainPack, backbone: AdaptedBackbone) -> None:
    here, there = _by_position(layers_of(backbone)), _by_position(pack.layers)
    kind = (backbone.adapter, backbone.normalization != "shared")
    if kind != (pack.adapter, pack.normalization != "shared") or here.keys() != there.keys():
        one_sided = [(here | there)[place][0] for place in sorted(here.keys() ^ there.keys())]
        only = f", of which only one of them has {one_sided[:3]}" if one_sided else ""
        raise ValueError(
            "The network must have the kind of adapters that the pack was made with: "
            f"adapter={pack.adapter!r}, normalization={pack.normalization!r} at "
            f"{_layers(len(there))}. Received: adapter={backbone.adapter!r}, "
            f"normalization={backbone.normalization!r} at {_layers(len(here))}{only}. "
            "Build the backbone like the pack's."
        )
    differing = {
        place: (_computed(there[place][1]), _computed(options))
        for place, (_, options) in here.items()
        if _computed(there[place][1]) != _computed(options)
    }
    if differing:
        first = min(differing)
        theirs, ours = differing[first]
        keys = sorted(key for key in theirs | ours if theirs.get(key) != ours.get(key))
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        raise ValueError(
            "The adapters must have the options that the pack was made with: "
            f"{_listed(theirs, keys)} at {here[first][0]!r}{more}. Received: "
            f"{_listed(ours, keys)}. Pass the pack's as `adapter_options` of the backbone, or as "
            "`layer_options` where layers differ."
        )


def _by_position(layers: Mapping[str, Mapping[str, Any]]) -> dict[int, tuple[str, dict[str, Any]]]:
    return {layer["position"]: (name, layer["options"]) for name, layer in layers.items()}


def _computed(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that play a part in what an adapter computes once it is trained."""
    return {key: options[key] for key in options.keys() - _FOR_TRAINING}


def _listed(options: Mapping[str, Any], keys: Sequence[str]) -> str:
    # What is `None` or `False` is not kept.
    return ", ".join(f"{key}={options.get(key)!r}" for key in keys)


def _layers(count: int) -> str:
    return "1 layer" if count == 1 else f"{count} layers"


def _check_trunk(pack: DomainPack, backbone: AdaptedBackbone) -> None:
    fingerprint = trunk_fingerprint(backbone)
    if fingerprint != pack.trunk:
        raise ValueError(
            f"The network must have the trunk that the pack was made with: {pack.trunk_name!r} of "
            f"fingerprint {pack.trunk[:12]}. Received: {backbone.trunk.name!r} of fingerprint "
            f"{fingerprint[:12]}: other weights, layers or options of layers. Adapters fit only "
            "the trunk that they were trained on; build it the same and load its weights first."
        )


def _check_arrays(
    pack: DomainPack, arrays: Mapping[str, np.ndarray], model: MultiDomainModel
) -> None:
    # Those of a domain that is there tell all but the number of classes.
    variables = variables_of(model, model.domains[0])
    shapes = {key: tuple(variable.shape) for key, variable in variables.items()}
    shapes["head/kernel"] = (model.feature_size, pack.num_classes)
    shapes["head/bias"] = (pack.num_classes,)
    found = {key: tuple(array.shape) for key, array in arrays.items()}
    if shapes != found:
        keys = shapes.keys() | found.keys()
        wrong = sorted(key for key in keys if shapes.get(key) != found.get(key))
        raise ValueError(
            "The pack's arrays must be those of the network's adapters, with the same names and "
            f"shapes. Received others: {wrong[:5]}. Write the pack again with `save_domain_pack`."
        )
