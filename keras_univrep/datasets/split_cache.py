"""Keeps prepared arrays in one file with checksums."""

import hashlib
import json
import os
import pathlib
import struct
import uuid
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_CHECKSUMS = "checksums"
# What a cut or overwritten file raises depends on where it was hit.
_DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, RuntimeError, MemoryError),
    *(struct.error, zipfile.BadZipFile),
)


def read_or_make(
    path: pathlib.Path, names: Sequence[str], make: Callable[[], dict[str, np.ndarray]]
) -> list[np.ndarray]:
    """Reads arrays out of a cache file, and makes the file where it is missing or damaged.

    The file appears under its name when it is whole, so processes that make it at the same time do
    not disturb each other.

    Args:
        path: The .npz file. Its folder is made.
        names: Names of the arrays to read.
        make: Function that gives every array of the file, by name.

    Returns:
        The arrays, in the order of `names`.
    """
    arrays = _read(path, names)
    if arrays is None:
        made = make()
        _write(path, made)
        arrays = [made[name] for name in names]
    return arrays


def _read(path: pathlib.Path, names: Sequence[str]) -> list[np.ndarray] | None:
    """Reads arrays that match their checksums; a damaged file is removed."""
    try:
        with np.load(path, allow_pickle=False) as file:
            expected = json.loads(str(file[_CHECKSUMS]))
            arrays = [file[name] for name in names]
        if [expected[name] for name in names] == [_checksum(array) for array in arrays]:
            return arrays
    except FileNotFoundError:
        return None
    except PermissionError:
        raise
    except _DAMAGE:
        arrays = None
    path.unlink(missing_ok=True)
    return None


def _write(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    checksums = json.dumps({name: _checksum(array) for name, array in arrays.items()})
    members: dict[str, Any] = {**arrays, _CHECKSUMS: np.array(checksums)}
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with open(partial, "wb") as file:
            np.savez(file, **members)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _checksum(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data if array.size else b"")
    return digest.hexdigest()
