"""Reads a domain that ships with the package."""

import functools
import hashlib
import io
import pathlib
from typing import Any

import numpy as np

from keras_univrep.datasets.domain import Arrays, Domain
from keras_univrep.datasets.embedded_domains import read_manifest
from keras_univrep.datasets.lazy_splits import LazySplits

_IMAGE_SIZE = 32


def load_domain(name: str, directory: str | pathlib.Path | None = None) -> Domain:
    """Opens a domain that ships with the package.

    Its file is verified now; the images of a split are decoded when it is first read.

    All images are 32x32 with three equal channels where the source is grey. The grey sets (letters,
    omniglot, quickdraw) are 28x28 in their source and get a black border of 2 pixels; their strokes
    are bright on black, as in their source. Colour sets were averaged from 64x64 down to 32x32.

    Args:
        name: One of `embedded_domains()`.
        directory: Folder with `manifest.json` and the files it lists; the package's own by default.

    Returns:
        A `Domain` with the splits "train", "validation" and "test".

    Raises:
        ValueError: If the name is unknown, or the file is not the one of the manifest.
        FileNotFoundError: If the file or the manifest is missing.

    Example:

    >>> domain = load_domain("eurosat")
    >>> images, labels = domain.arrays("test")
    >>> images.shape, str(images.dtype), labels.shape
    ((300, 32, 32, 3), 'uint8', (300,))
    """
    directory, manifest = read_manifest(directory)
    if name not in manifest:
        raise ValueError(
            f"`name` must be an embedded domain: {sorted(manifest)}. Received: name={name!r}. "
            "For images of your own use `domain_from_arrays` or `domain_from_folder`."
        )
    entry = manifest[name]
    content = _read_verified(directory / entry["file"], entry["sha256"])
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        class_names = tuple(file["class_names"].tolist())
    return Domain(
        name=name,
        num_classes=entry["num_classes"],
        class_names=class_names,
        image_shape=tuple(entry["image_shape"]),
        mean=tuple(entry["mean"]),
        std=tuple(entry["std"]),
        splits=LazySplits(
            {split: functools.partial(_read, content, entry, split) for split in entry["splits"]}
        ),
        flip=entry["flip"],
        licence=entry["licence"],
        source=entry["source"],
        citation=entry["citation"],
    )


def _read(content: bytes, entry: dict[str, Any], split: str) -> Arrays:
    """A split of a verified file."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        images, labels = file[f"x_{split}"], file[f"y_{split}"]
    return _decode(images, entry["storage"], entry["stored_size"]), labels.astype("int32")


def _decode(images: np.ndarray, storage: str, size: int) -> np.ndarray:
    if storage == "bits":
        pixels = np.unpackbits(images, axis=-1, count=size * size)
        images = pixels.reshape(-1, size, size) * np.uint8(255)
    if images.ndim == 3:
        images = np.repeat(images[..., None], 3, axis=-1)
    before = (_IMAGE_SIZE - size) // 2
    after = _IMAGE_SIZE - size - before
    return np.pad(images, [(0, 0), (before, after), (before, after), (0, 0)])


def _read_verified(path: pathlib.Path, expected: str) -> bytes:
    way_out = (
        "Install the package again (`pip install --force-reinstall keras_univrep`) or fetch the "
        "file again."
    )
    if not path.is_file():
        raise FileNotFoundError(
            f"The file of an embedded domain must be present with SHA-256 {expected}. Received: no "
            f"file '{path.name}' in '{path.parent}', so no SHA-256. {way_out}"
        )
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            f"'{path}' must have SHA-256 {expected}. Received: SHA-256 {found} ({len(content)} "
            f"bytes). The file is truncated or changed. {way_out}"
        )
    return content
