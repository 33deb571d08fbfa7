"""Checks of the images and maps of a dense domain."""

from collections.abc import Mapping

import numpy as np

KINDS = ("segmentation", "depth", "disparity", "normals")
IGNORED = -1
# Maps are checked a few at a time: a whole split needs gigabytes.
_CHUNK = 32


def check_dense(
    images: np.ndarray,
    targets: Mapping[str, np.ndarray],
    tasks: Mapping[str, str],
    channels: Mapping[str, int],
    where: str,
) -> None:
    """Checks that images and the maps of their tasks belong together.

    Args:
        images: uint8 (n, height, width, channels), 1 or 3 channels.
        targets: Dict of task to maps, as `DenseDomain` wants them.
        tasks: Dict of task to kind.
        channels: Dict of task to number of classes or channels.
        where: Words that name the arrays in an error.

    Raises:
        ValueError: If shapes, counts or values do not fit.
        TypeError: If an array is not of the type that its kind has.
    """
    if images.dtype != np.uint8:
        raise TypeError(
            f"Images of {where} must be uint8 in [0, 255]. Received: {images.dtype}. Convert "
            "images in [0, 1] with `(255 * images).round().astype('uint8')`."
        )
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not len(images):
        raise ValueError(
            f"Images of {where} must have shape (n, height, width, channels) with n at least 1 and "
            f"1 or 3 channels. Received: {images.shape}. Move the channels last."
        )
    if set(targets) != set(tasks):
        raise ValueError(
            f"Targets of {where} must have one entry for each task: {sorted(tasks)}. Received: "
            f"{sorted(targets)}. Pass the missing maps, or a domain without that task."
        )
    for task, kind in tasks.items():
        maps = targets[task]
        what = f"Maps of task '{task}' ({kind}) of {where}"
        shape = images.shape[:3]
        if kind != "segmentation":
            shape = (*shape, channels[task])
        if maps.shape != shape:
            raise ValueError(
                f"{what} must have the size of the images: {shape}. Received: {maps.shape}. Resize "
                "images and maps to one size; labels and depth without interpolation."
            )
        if maps.dtype.kind != ("i" if kind == "segmentation" else "f"):
            wanted = "a signed integer type" if kind == "segmentation" else "float"
            raise TypeError(
                f"{what} must be of {wanted}. Received: {maps.dtype}. Convert them with "
                f"`maps.astype('{'int32' if kind == 'segmentation' else 'float32'}')`."
            )
        for first in range(0, len(maps), _CHUNK):
            _check_values(maps[first : first + _CHUNK], kind, channels[task], what, first)


def _check_values(maps: np.ndarray, kind: str, channels: int, what: str, first: int) -> None:
    if kind == "segmentation":
        bad = (maps < IGNORED) | (maps >= channels)
        rule = f"in [0, {channels}), or {IGNORED} where there is no label"
        way = "Map other labels to a class or to -1."
    elif kind == "normals":
        values = maps.astype("float32")
        square = (values * values).sum(-1)
        # False for a NaN as well.
        bad = ~((np.abs(square - 1) < 2e-2) | (square == 0))
        rule = "unit vectors, or zero vectors where unknown"
        way = "Divide them by their length."
    else:
        bad = ~(np.isfinite(maps) & (maps >= 0))
        rule = "finite and at least 0, and 0 where nothing was measured"
        way = "Put 0 where nothing was measured."
    if bad.any():
        place = tuple(int(axis[0]) for axis in np.nonzero(bad))
        found = maps[place].tolist()
        raise ValueError(
            f"{what} must be {rule}. Received: {found} in image {first + place[0]} at row "
            f"{place[1]}, column {place[2]}. {way}"
        )
