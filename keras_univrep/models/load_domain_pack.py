"""Adds the domain of a file to a network."""

import os

from keras_univrep.backbones.adapted_backbone import AdaptedBackbone
from keras_univrep.models.domain_pack import (
    DomainPack,
    adapted_backbone_of,
    layers_of,
    read_pack,
    trunk_fingerprint,
)
from keras_univrep.models.multi_domain_model import MultiDomainModel


def load_domain_pack(
    model: MultiDomainModel, path: str | os.PathLike, name: str | None = None
) -> DomainPack:
    """Adds the domain of a pack to a network with the same trunk.

    Every other domain's predictions stay bit-identical. If anything does not fit, the network is
    left as it was. Compile anew before training.

    Args:
        model: A network over an `AdaptedBackbone` with the trunk and the kind of adapters that the
            pack was made with.
        path: A file that `save_domain_pack` wrote.
        name: What to call the domain here; the pack's name by default.

    Returns:
        What the pack says of itself.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If the backbone is no `AdaptedBackbone`.
        ValueError: If the file is damaged, belongs to another trunk or kind of adapters, or the
            name is already in use.

    Example:
        See `save_domain_pack`.
    """
    backbone = adapted_backbone_of(model)
    pack, arrays = read_pack(path)
    name = pack.domain if name is None else name
    if name in model.domains:
        raise ValueError(
            f"`name` must be new to the network, which has {list(model.domains)}. Received: "
            f"name={name!r}. Pass another `name`, or remove that domain first."
        )
    _check_same(pack, backbone)
    model.add_domain(name, pack.num_classes)
    variables = {f"backbone/{n}": v for n, v in backbone.domain_weights(name).items()}
    head = model.head(name)
    variables |= {"head/kernel": head.kernel, "head/bias": head.bias}
    shapes = {n: tuple(v.shape) for n, v in variables.items()}
    found = {n: tuple(array.shape) for n, array in arrays.items()}
    if shapes != found:
        model.remove_domain(name)
        wrong = sorted(n for n in shapes.keys() | found.keys() if shapes.get(n) != found.get(n))
        raise ValueError(
            f"The pack's arrays must be those of the network's adapters. Received other names or "
            f"shapes: {wrong[:5]}. Build the backbone with the placement of the pack: "
            f"{list(pack.layers)[:5]} ..."
        )
    for n, variable in variables.items():
        variable.assign(arrays[n])
    return pack


def _check_same(pack: DomainPack, backbone: AdaptedBackbone) -> None:
    here = (backbone.adapter, backbone.normalization != "shared", layers_of(backbone))
    there = (pack.adapter, pack.normalization != "shared", pack.layers)
    if here != there:
        raise ValueError(
            "The network must have the kind of adapters that the pack was made with: "
            f"adapter={pack.adapter!r}, normalization={pack.normalization!r} at "
            f"{len(pack.layers)} layers. Received: adapter={backbone.adapter!r}, "
            f"normalization={backbone.normalization!r} at {len(backbone.adapted)} layers. "
            "Build the backbone like the pack's."
        )
    fingerprint = trunk_fingerprint(backbone)
    if fingerprint != pack.trunk:
        raise ValueError(
            f"The network must have the trunk that the pack was made with: {pack.trunk_name!r} of "
            f"fingerprint {pack.trunk[:12]}. Received: {backbone.trunk.name!r} of fingerprint "
            f"{fingerprint[:12]}: other weights or layers. Adapters fit only the trunk that they "
            "were trained on; load its weights first."
        )
