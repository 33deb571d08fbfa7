"""What a domain pack holds: adapters, normalisations and classifier of one domain, described."""

import dataclasses
import hashlib
import io
import json
import os
import zipfile
from typing import Any

import numpy as np
from keras import ops

from keras_univrep.backbones.adapted_backbone import AdaptedBackbone, leaves
from keras_univrep.models.multi_domain_model import MultiDomainModel

FORMAT = "keras_univrep domain pack 1"
MANIFEST = "manifest.json"


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
        layers: The arguments of each layer's adapter that differ from the kind's.
        trunk: Fingerprint of the trunk that the pack belongs to.
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
        ValueError: If it is no domain pack, is cut off, or was altered.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            fields = json.loads(archive.read(MANIFEST))
            if fields.pop("format", None) != FORMAT:
                raise ValueError(f"its manifest does not say {FORMAT!r}")
            fields["class_names"] = tuple(fields["class_names"])
            pack = DomainPack(**fields)
            arrays = {}
            for name, expected in pack.sha256.items():
                content = archive.read(f"{name}.npy")
                if hashlib.sha256(content).hexdigest() != expected:
                    raise ValueError(f"the checksum of {name!r} is not the one in its manifest")
                arrays[name] = np.load(io.BytesIO(content), allow_pickle=False)
    except FileNotFoundError:
        raise
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{os.fspath(path)!r} must be a whole, unaltered domain pack. Received a file that "
            f"cannot be trusted: {error}. Get it again, or write it again with `save_domain_pack`."
        ) from error
    return pack, arrays


def trunk_fingerprint(backbone: AdaptedBackbone) -> str:
    """Returns the SHA-256 of the trunk's weights, by layer, and of what its domains share.

    Args:
        backbone: The adapted network.

    Returns:
        64 hexadecimal digits; the same for the same float32 weights on every backend.
    """
    digest = hashlib.sha256()
    parts = [(name, variable) for name, layer in leaves(backbone.trunk) for variable in
             layer.weights]  # fmt: skip
    parts += [(name, bank.beta) for name, bank in backbone.banks.items() if hasattr(bank, "beta")]
    for name, variable in parts:
        array = np.ascontiguousarray(ops.convert_to_numpy(variable), "float32")
        digest.update(f"{name}/{variable.name}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


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


def layers_of(backbone: AdaptedBackbone) -> dict[str, dict[str, Any]]:
    """Returns the adapted layers, each with its own options."""
    return {name: backbone.layer_options.get(name, {}) for name in backbone.adapted}
