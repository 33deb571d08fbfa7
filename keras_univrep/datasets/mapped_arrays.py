"""Keeps prepared arrays of any size in files that are mapped into memory."""

import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterable
from typing import IO

import numpy as np

_INDEX = "arrays.json"


def map_or_make(
    folder: pathlib.Path, make: Callable[[], Iterable[dict[str, np.ndarray]]]
) -> dict[str, np.ndarray]:
    """Maps arrays of a folder into memory, and writes the folder where it is missing.

    Examples are written as they are made, so a set need not fit into memory. The folder appears
    under its name when it is whole: processes that make it at the same time do not disturb each
    other.

    Args:
        folder: Where the arrays are, one file each.
        make: Function that gives the examples, each a dict of name to an array; shapes and types
            are the same in all.

    Returns:
        Dict of name to an array (n, ...), read-only.

    Raises:
        ValueError: If there is no example, they differ in shape or type, or a file was cut off.

    Example:

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from keras_univrep.datasets.mapped_arrays import map_or_make
    >>> folder = pathlib.Path(tempfile.mkdtemp()) / "train"
    >>> map_or_make(folder, lambda: ({"x": np.array([i, i * i])} for i in range(3)))["x"].tolist()
    [[0, 0], [1, 1], [2, 4]]
    """
    if not (folder / _INDEX).is_file():
        _write(folder, make)
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    arrays = {}
    for name, (dtype, shape) in index.items():
        path = folder / f"{name}.bin"
        expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
        found = path.stat().st_size if path.is_file() else None
        if found != expected:
            raise ValueError(
                f"'{path}' must hold {expected} bytes. Received: {found}. Remove '{folder}': it is "
                "made again."
            )
        arrays[name] = np.memmap(path, dtype, "r", shape=tuple(shape)).view(np.ndarray)
    return arrays


def _write(folder: pathlib.Path, make: Callable[[], Iterable[dict[str, np.ndarray]]]) -> None:
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.partial")
    partial.mkdir(parents=True)
    files: dict[str, IO[bytes]] = {}
    form: dict[str, tuple[str, tuple[int, ...]]] = {}
    count = 0
    try:
        try:
            for example in make():
                own = {key: (value.dtype.str, value.shape) for key, value in example.items()}
                if not form:
                    form = own
                    files = {key: open(partial / f"{key}.bin", "wb") for key in own}
                if own != form:
                    raise ValueError(
                        f"Examples of '{folder}' must be alike. Received: {own} in example "
                        f"{count}, and {form} before. Convert them to one shape and type."
                    )
                for key, value in example.items():
                    files[key].write(np.ascontiguousarray(value).tobytes())
                count += 1
        finally:
            for file in files.values():
                file.close()
        if not count:
            raise ValueError(
                f"There must be an example to keep in '{folder}'. Received: none. Pass a split "
                "with images."
            )
        index = {key: (dtype, (count, *shape)) for key, (dtype, shape) in form.items()}
        (partial / _INDEX).write_text(json.dumps(index), encoding="utf-8")
        if not folder.is_dir():
            os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
