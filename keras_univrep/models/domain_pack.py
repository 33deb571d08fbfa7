"""What a domain pack holds: adapters, normalisations and classifier of one domain, described."""

import dataclasses
import hashlib
import io
import json
import os
import struct
import zipfile
import zlib
from typing import Any

import keras
import numpy as np

from keras_univrep.backbones.adaptable_layers import leaves
from keras_univrep.backbones.adapted_backbone import AdaptedBackbone, below_part
from keras_univrep.layers.domain_names import check_domain
from keras_univrep.models._trunk_fingerprint import bank_options
from keras_univrep.models.multi_domain_model import MultiDomainModel

FORMAT = "keras_univrep domain pack 2"
MANIFEST = "manifest.json"
CHECKSUM = "manifest.sha256"

# The types of what a manifest says.
_KINDS = {
    "domain": str,
    "num_classes": int,
    "class_names": list,
    "description": str,
    "preprocessing": dict,
    "adapter": str | None,
    "normalization": str,
    "layers": dict,
    "trunk": str,
    "trunk_name": str,
    "sha256": dict,
}
# What reading a damaged archive, manifest or array raises: `RuntimeError` where a flipped bit says
# that the archive is encrypted, `NotImplementedError`, which is one, where it says that it is of a
# later version.
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    EOFError,
    OSError,
)


@dataclasses.dataclass(frozen=True)
class DomainPack:
    """What a domain pack says of itself.

    Args:
        domain: Name of the domain.
        num_classes: Number of its classes.
        class_names: One name per class, or empty.
        description: What the domain is, who made the pack, under which licence.
        preprocessing: What is done to an image before the network, such as `{"mean": [...]}`.
        adapter: Kind of the adapters, and `normalization` that of the normalisations.
        normalization: See `adapter`.
        layers: Each layer that has parts for each domain, by its name in the network that the pack
            comes from: `{"position": number among the trunk's layers, "options": arguments of its
            adapter}`.
        trunk: Fingerprint of the trunk that the pack belongs to: its structure and weights.
        trunk_name: Name of that trunk.
        sha256: Checksum of each array, by name.

    Example:
        >>> from keras_univrep.models.domain_pack import DomainPack
        >>> DomainPack("birds", 2, ("jay", "wren"), "", {}, "parallel", "domain", {}, "0", "t", {})
        ...     # doctest: +ELLIPSIS
        DomainPack(domain='birds', num_classes=2, class_names=('jay', 'wren'), ...)
    """

    domain: str
    num_classes: int
    class_names: tuple[str, ...]
    description: str
    preprocessing: dict[str, Any]
    adapter: str | None
    normalization: str
    layers: dict[str, dict[str, Any]]
    trunk: str
    trunk_name: str
    sha256: dict[str, str]


def read_pack(path: str | os.PathLike) -> tuple[DomainPack, dict[str, np.ndarray]]:
    """Reads a domain pack and checks it.

    Args:
        path: A file that `save_domain_pack` wrote.

    Returns:
        What the pack says of itself, and its arrays by name.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no domain pack, is cut off, was altered, or has an earlier format,
            which said too little of the trunk.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            known = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            if any(entry.compress_type not in known for entry in archive.infolist()):
                raise ValueError("it is not compressed as packs are")
            manifest = archive.read(MANIFEST)
            fields = _fields(manifest)
            if archive.read(CHECKSUM).decode() != hashlib.sha256(manifest).hexdigest():
                raise ValueError("the checksum of its manifest is not the one beside it")
            pack = DomainPack(**fields)
            contents = {name: archive.read(f"{name}.npy") for name in pack.sha256}
        arrays = {name: _array(name, content, pack) for name, content in contents.items()}
    except FileNotFoundError:
        raise
    except _DAMAGES as error:
        raise ValueError(
            f"{os.fspath(path)!r} must be a whole, unaltered domain pack. Received a file that "
            f"cannot be trusted: {error}. Get it again, or write it again with `save_domain_pack` "
            "from a network that has the domain."
        ) from error
    return pack, arrays


def _fields(manifest: bytes) -> dict[str, Any]:
    """What a manifest says, if it is one."""
    fields = json.loads(manifest)
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        found = fields.get("format") if isinstance(fields, dict) else fields
        raise ValueError(f"its manifest must have the format {FORMAT!r} and has {found!r:.80}")
    del fields["format"]
    if fields.keys() != _KINDS.keys():
        raise ValueError(f"its manifest must have {list(_KINDS)} and has {list(fields)}")
    for name, kind in _KINDS.items():
        if not isinstance(fields[name], kind) or isinstance(fields[name], bool):
            raise ValueError(f"{name!r} in its manifest cannot be {fields[name]!r:.80}")
    for name, layer in fields["layers"].items():
        whole = isinstance(layer, dict) and layer.keys() == {"position", "options"}
        if not (whole and type(layer["position"]) is int and isinstance(layer["options"], dict)):
            raise ValueError(
                f"the layer {name!r} in its manifest must have a position and options, and has "
                f"{layer!r:.80}"
            )
    if fields["num_classes"] < 1 or len(fields["class_names"]) not in (0, fields["num_classes"]):
        raise ValueError(
            f"its manifest has {len(fields['class_names'])} names for {fields['num_classes']} "
            "classes"
        )
    return {**fields, "class_names": tuple(fields["class_names"])}


def _array(name: str, content: bytes, pack: DomainPack) -> np.ndarray:
    if hashlib.sha256(content).hexdigest() != pack.sha256[name]:
        raise ValueError(f"the checksum of {name!r} is not the one in its manifest")
    array = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name!r} must hold numbers and holds {array.dtype}")
    return array


def adapted_backbone_of(model: MultiDomainModel) -> AdaptedBackbone:
    """Returns the backbone of `model`, or raises an error if its domains cannot be packed."""
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, AdaptedBackbone):
        raise TypeError(
            "`model` must be a MultiDomainModel over an AdaptedBackbone, whose domains are parts "
            f"apart from the trunk. Received: {model!r} over {backbone!r}. Wrap the trunk: "
            "MultiDomainModel(AdaptedBackbone(trunk, domains), num_classes)."
        )
    return backbone


def variables_of(model: MultiDomainModel, domain: str) -> dict[str, keras.Variable]:
    """Returns what a pack holds of a domain, by names in which no layer's name occurs.

    Args:
        model: A network over an `AdaptedBackbone`.
        domain: One of its domains.
    """
    backbone = adapted_backbone_of(model)
    check_domain(domain, backbone.domains, backbone.name)
    positions = _positions(backbone)
    variables = {
        f"backbone/{positions[name]}/{below_part(bank, domain, variable)}": variable
        for name, bank in backbone.banks.items()
        for variable in bank.part(domain).weights
    }
    head = model.head(domain)
    return variables | {"head/kernel": head.kernel, "head/bias": head.bias}


def layers_of(backbone: AdaptedBackbone) -> dict[str, dict[str, Any]]:
    """Returns the layers with parts for each domain: position in the trunk, and options.

    Args:
        backbone: The adapted network.
    """
    positions = _positions(backbone)
    return {
        name: {"position": positions[name], "options": bank_options(bank)}
        for name, bank in backbone.banks.items()
    }


def _positions(backbone: AdaptedBackbone) -> dict[str, int]:
    return {name: position for position, (name, _) in enumerate(leaves(backbone.trunk))}
