"""Writes one domain of a network as a small file."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_univrep.models._trunk_fingerprint import trunk_fingerprint
from keras_univrep.models.domain_pack import (
    CHECKSUM,
    FORMAT,
    MANIFEST,
    DomainPack,
    adapted_backbone_of,
    layers_of,
    variables_of,
)
from keras_univrep.models.multi_domain_model import MultiDomainModel


def save_domain_pack(
    model: MultiDomainModel,
    domain: str,
    path: str | os.PathLike,
    class_names: Sequence[str] = (),
    description: str = "",
    preprocessing: Mapping[str, Any] | None = None,
) -> DomainPack:
    """Writes one domain of a network over an `AdaptedBackbone` to a file of its own.

    The file is a zip archive of NumPy arrays and a JSON description; reading it runs no code. It is
    written whole or not at all.

    Args:
        model: The network.
        domain: One of its domains.
        path: Where to write; an existing file is replaced.
        class_names: One name per class, in the order of the labels.
        description: What the domain is, who made the pack, under which licence.
        preprocessing: What is done to an image before the network; anything that JSON can hold.

    Returns:
        What the pack says of itself.

    Raises:
        TypeError: If the backbone is no `AdaptedBackbone`.
        ValueError: If the domain is unknown, or the names are not as many as its classes.

    Example:
        >>> import os, tempfile
        >>> from keras_univrep.backbones import AdaptedBackbone, ResNet26
        >>> from keras_univrep.models import MultiDomainModel, load_domain_pack, save_domain_pack
        >>> model = MultiDomainModel(AdaptedBackbone(ResNet26(width=0.25), ["a"]), {"a": 2})
        >>> path = os.path.join(tempfile.mkdtemp(), "a.zip")
        >>> pack = save_domain_pack(model, "a", path, class_names=["cat", "dog"])
        >>> load_domain_pack(model, path, name="b").class_names, model.domains
        (('cat', 'dog'), ('a', 'b'))
    """
    backbone = adapted_backbone_of(model)
    variables = variables_of(model, domain)
    count = model.num_classes[domain]
    class_names = tuple(str(name) for name in class_names)
    if class_names and len(class_names) != count:
        raise ValueError(
            f"`class_names` must hold one name per class of {domain!r}. Received: "
            f"{len(class_names)} names for {count} classes. Pass {count} names, or none."
        )
    files = {name: _bytes(ops.convert_to_numpy(value)) for name, value in variables.items()}
    pack = DomainPack(
        domain=domain,
        num_classes=count,
        class_names=class_names,
        description=description,
        # As it will be read: with lists for tuples, and words for keys.
        preprocessing=json.loads(json.dumps(dict(preprocessing or {}))),
        adapter=backbone.adapter,
        normalization=backbone.normalization,
        layers=layers_of(backbone),
        trunk=trunk_fingerprint(backbone),
        trunk_name=backbone.trunk.name,
        sha256={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    manifest = json.dumps({"format": FORMAT, **dataclasses.asdict(pack)}, indent=1).encode()
    path = pathlib.Path(path)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(MANIFEST, manifest)
                archive.writestr(CHECKSUM, hashlib.sha256(manifest).hexdigest())
                for name, content in files.items():
                    archive.writestr(f"{name}.npy", content)
            file.close()
            os.replace(file.name, path)
        finally:
            pathlib.Path(file.name).unlink(missing_ok=True)
    return pack


def _bytes(array: np.ndarray) -> bytes:
    if array.dtype.kind == "V":
        array = array.astype("float32")  # NumPy's files do not know bfloat16.
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
