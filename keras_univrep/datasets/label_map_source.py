"""Makes a segmentation source of folders of images and label maps."""

import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_univrep.datasets.detection_examples import Example
from keras_univrep.datasets.source import Source
from keras_univrep.datasets.source_images import (
    check_image_size,
    check_pixels,
    decode_image,
    fit_image,
)
from keras_univrep.datasets.streamed_source import cache_folder, streamed_source

_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG")


def label_map_source(
    name: str,
    splits: Mapping[str, tuple[str | pathlib.Path, str | pathlib.Path]],
    class_names: Sequence[str],
    values: Mapping[int, int] | None = None,
    void: Sequence[int] = (255,),
    image_size: int | tuple[int, int] = 64,
    cache_dir: str | pathlib.Path | None = None,
    **fields: Any,
) -> Source:
    """Opens a segmentation set with a label map NAME.png for each image NAME.jpg.

    Images are resized bilinearly; of a map the pixel under the centre of the new one is taken, so
    that no class is invented. That is done once, when a split is first read; then arrays are mapped
    from the disk. Images without a map are left out.

    Args:
        name: Name of the source.
        splits: Dict of split to (folder of images, folder of label maps). A map has one channel of
            8 or 16 bits, or a palette, whose numbers are taken.
        class_names: One name per class.
        values: Dict of a pixel's value to its class; None if they are equal.
        void: Values of pixels without label. A value that is neither here nor in `values` is
            refused.
        image_size: Side, or (height, width), to resize to, in pixels, at least 8.
        cache_dir: Folder of the resized images and maps, 5 bytes a pixel; None for
            `keras_univrep/label_map_source` in KERAS_HOME or `~/.keras`.
        **fields: Further fields of `Source`: `flip`, `description`, `licence`, `source`,
            `citation`.

    Returns:
        A `Source` of the kind "segmentation".

    Raises:
        FileNotFoundError: If a folder is missing, or the image of a map.
        ValueError: If a file does not fit; the error names source and file.
        ImportError: If Pillow is not installed.

    Example:

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> from keras_univrep.datasets import label_map_source
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for folder, mode in (("images", "RGB"), ("maps", "L")):
    ...     (root / folder).mkdir()
    ...     Image.new(mode, (9, 9), 2).save(root / folder / "1.png")
    >>> source = label_map_source(
    ...     "toy", {"train": (root / "images", root / "maps")}, ["wall", "sky"],
    ...     values={1: 0, 2: 1}, void=(0,), image_size=8, cache_dir=root,
    ... )
    >>> source.arrays("train")[1][0, 0, 0].item()
    1
    """
    size = check_image_size(image_size, "square")
    cache = cache_folder(cache_dir, "label_map_source")
    classes = dict(enumerate(range(len(class_names)))) if values is None else dict(values)
    wrong = [label for label in classes.values() if not 0 <= label < len(class_names)]
    numbers = [*classes, *void]
    if wrong or len(set(numbers)) < len(numbers) or min(numbers, default=0) < 0:
        raise ValueError(
            f"`values` of source '{name}' must map values from 0 to classes in [0, "
            f"{len(class_names)}), and `void` must hold others. Received: classes {wrong} and "
            f"void={tuple(void)}. Pass each value once."
        )
    table = np.full(max(numbers) + 2, -2, "int16")
    for value in void:
        table[value] = -1
    for value, label in classes.items():
        table[value] = label
    readers = {}
    for split, folders in splits.items():
        images, maps = (pathlib.Path(folder) for folder in folders)
        if not images.is_dir() or not maps.is_dir():
            raise FileNotFoundError(
                f"Split '{split}' of source '{name}' must be a folder of images and one of label "
                f"maps. Received: '{images}' and '{maps}', not both of which are there. Check the "
                "paths."
            )
        files = sorted(maps.glob("*.png"))
        identity = f"{maps} {len(files)} {maps.stat().st_mtime_ns} {table.tolist()}"
        readers[split] = (
            identity, functools.partial(_examples, name, images, files, table, size)
        )  # fmt: skip
    return streamed_source(
        name, "segmentation", tuple(class_names), size, readers, cache, **fields
    )  # fmt: skip


def resize_labels(labels: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Takes the pixel under the centre of each new one: (height, width) to `image_size`."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype("int64")
        for new, old in zip(image_size, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


def _examples(
    name: str,
    images: pathlib.Path,
    files: list[pathlib.Path],
    table: np.ndarray,
    image_size: tuple[int, int],
) -> Iterator[Example]:
    for file in files:
        found = [
            path for suffix in _SUFFIXES if (path := images / f"{file.stem}{suffix}").is_file()
        ]
        if not found:
            raise FileNotFoundError(
                f"'{file}' of source '{name}' must have its image in '{images}'. Received: no file "
                f"'{file.stem}' with one of {_SUFFIXES}. Fetch the images again."
            )
        pixels = decode_image(found[0], f"'{found[0]}' of source '{name}'")
        check_pixels(pixels, f"'{found[0]}' of source '{name}'")
        labels = decode_image(file, f"'{file}' of source '{name}'", labels=True)
        if labels.shape != pixels.shape[:2]:
            raise ValueError(
                f"'{file}' of source '{name}' must have the size of its image, "
                f"{pixels.shape[:2]}. Received: {labels.shape}. Fetch both again."
            )
        # The last entry stands for all beyond the table.
        classes = table[np.clip(labels, 0, len(table) - 1)]
        if (classes == -2).any():
            raise ValueError(
                f"'{file}' of source '{name}' must have the values of its classes or of pixels "
                f"without label. Received: {np.unique(labels[classes == -2])[:5].tolist()}. Add "
                "them to `values` or `void`."
            )
        image, _ = fit_image(pixels, image_size, "square")
        yield {"images": image, "targets": resize_labels(classes, image_size)}
