"""Makes a source of examples that are prepared once and kept on the disk."""

import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from keras_univrep.datasets.detection_examples import Example
from keras_univrep.datasets.lazy_splits import LazySplits
from keras_univrep.datasets.mapped_arrays import map_or_make
from keras_univrep.datasets.source import Source, SourceArrays

# Counts up when the rules of reading or resizing change: older cache folders are then not read.
_PROTOCOL = 1


def streamed_source(
    name: str,
    kind: str,
    class_names: tuple[str, ...],
    image_size: tuple[int, int],
    splits: Mapping[str, tuple[str, Callable[[], Iterable[Example]]]],
    cache_dir: pathlib.Path,
    max_boxes: int = 0,
    **fields: Any,
) -> Source:
    """Makes a source whose splits are written to the disk when they are first asked for.

    Args:
        name: Name of the source.
        kind: Its kind.
        class_names: One name per class.
        image_size: (height, width) of the images, in pixels; they have three channels.
        splits: Dict of split to what tells its content from another's, and a function that gives
            its examples: {"images": ..., "targets": ...}, or for detection {"images": ...,
            "boxes": ..., "labels": ...}.
        cache_dir: Folder of the prepared arrays.
        max_boxes: For detection, boxes of an image.
        **fields: Further fields of `Source`.

    Returns:
        A `Source`, whose arrays are mapped from the disk: it need not fit into memory.
    """
    readers = {}
    for split, (identity, make) in splits.items():
        key = f"{_PROTOCOL} {kind} {image_size} {max_boxes} {split} {identity}"
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        folder = cache_dir / f"{name}-{image_size[0]}x{image_size[1]}-{digest}"
        readers[split] = functools.partial(_read, folder, make)
    shape = (*image_size, 3)
    return Source(
        name, kind, class_names, shape, LazySplits(readers), max_boxes, **fields
    )  # fmt: skip


def cache_folder(cache_dir: str | pathlib.Path | None, function: str) -> pathlib.Path:
    """The folder of a function's prepared arrays."""
    if cache_dir is not None:
        return pathlib.Path(cache_dir)
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    return pathlib.Path(home) / "keras_univrep" / function


def _read(folder: pathlib.Path, make: Callable[[], Iterable[Example]]) -> SourceArrays:
    arrays = map_or_make(folder, make)
    images = arrays.pop("images")
    return images, arrays.get("targets", arrays)
