"""Random enlarging and mirroring of an image together with its maps, in NumPy alone."""

from collections.abc import Mapping, Sequence

import numpy as np

SCALES = (1.0, 1.2, 1.5)
AUGMENTATIONS = (None, "flip", "scale_crop", "scale_crop_flip")

Targets = dict[str, np.ndarray]


def dense_augment(
    image: np.ndarray,
    targets: Mapping[str, np.ndarray],
    tasks: Mapping[str, str],
    rng: np.random.Generator,
    augmentation: str | None = "scale_crop_flip",
    scales: Sequence[float] = SCALES,
) -> tuple[np.ndarray, Targets]:
    """Enlarges a random part of an image to its size, and mirrors it half of the time.

    One scale s is drawn, then the corner of a crop of 1/s of the height and width (rounded down),
    which is enlarged to the size of the image: the image bilinearly (corner pixels stay corner
    pixels), maps by their nearest pixel. What is enlarged s times looks s times as near: depth is
    divided by s and disparity multiplied by it. A mirror image has normals whose horizontal axis
    points the other way.

    Differences:
        The code of li2022 interpolates normals bilinearly, which shortens them at edges and mixes
        them with the zero vectors of unknown pixels; here they are the nearest pixel's. Normals are
        not turned for the scale, as there.

    Args:
        image: (height, width, channels), uint8 in [0, 255] or float in [0, 1].
        targets: Dict of task to map: (height, width) or (height, width, channels).
        tasks: Dict of task to kind: "segmentation", "depth", "disparity" or "normals". Other
            targets are left out.
        rng: Source of the draws. It always gives four, whatever the augmentation.
        augmentation: "scale_crop_flip", "scale_crop", "flip" or None.
        scales: Factors of enlarging to choose from, at least 1, dimensionless.

    Returns:
        The image, float32 in [0, 1], and a dict of task to map, of the same shapes and types.

    Raises:
        ValueError: If the augmentation is unknown, a scale is below 1 or a map does not have the
            image's size.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import dense_augment
    >>> image, depth = np.zeros((12, 18, 3), "uint8"), np.full((12, 18, 1), 3.0, "float32")
    >>> rng = np.random.default_rng(0)
    >>> image, maps = dense_augment(
    ...     image, {"depth": depth}, {"depth": "depth"}, rng, scales=[1.5]
    ... )
    >>> image.shape, float(maps["depth"][0, 0, 0])
    ((12, 18, 3), 2.0)

    References:
        - Li, Liu and Bilen, Universal Representations: A Unified Look at Multiple Task and Domain
          Learning, 2022.
    """
    check_augmentation(augmentation, scales)
    height, width = image.shape[:2]
    wrong = {
        task: targets[task].shape for task in tasks if targets[task].shape[:2] != (height, width)
    }
    if wrong:
        raise ValueError(
            f"Maps must have the image's size, {(height, width)}. Received: {wrong}. Resize them."
        )
    draws = rng.random(4)
    scale = 1.0
    if augmentation is not None and augmentation.startswith("scale_crop"):
        scale = float(scales[int(draws[0] * len(scales))])
    flip = augmentation is not None and augmentation.endswith("flip") and bool(draws[3] < 0.5)
    # A product such as 1.2 * (144 / 1.2) must not fall below its integer.
    sides = [int(side / scale + 1e-9) for side in (height, width)]
    corner = [
        int(draw * (side - part + 1))
        for draw, side, part in zip(draws[1:3], (height, width), sides, strict=True)
    ]
    values = _enlarge(image, corner, sides, flip) if scale != 1 else image[:, :: -1 if flip else 1]
    values = values.astype("float32")
    if image.dtype == np.uint8:
        values *= np.float32(1 / 255)
    rows = corner[0] + np.arange(height) * sides[0] // height
    columns = corner[1] + np.arange(width) * sides[1] // width
    pixels = rows[:, None] * width + (columns[::-1] if flip else columns)
    return values, {
        task: _take(targets[task], pixels, kind, scale, flip) for task, kind in tasks.items()
    }


def check_augmentation(augmentation: str | None, scales: Sequence[float]) -> None:
    """Checks the arguments of `dense_augment` that are not arrays."""
    if augmentation not in AUGMENTATIONS:
        raise ValueError(
            f"`augmentation` must be one of {list(AUGMENTATIONS)}. Received: "
            f"augmentation={augmentation!r}. Pass one of these, or None and augment the batches "
            "yourself."
        )
    if not len(scales) or not all(np.isfinite(scale) and scale >= 1 for scale in scales):
        raise ValueError(
            "`scales` must hold at least one factor, none below 1: a crop cannot be larger than "
            f"its image. Received: scales={list(scales)}. Pass, for example, (1.0, 1.2, 1.5)."
        )


def _take(maps: np.ndarray, pixels: np.ndarray, kind: str, scale: float, flip: bool) -> np.ndarray:
    """Reads a map at flat pixel positions, and turns its values to what the new image shows."""
    # One flat index per pixel is faster than indexing two axes.
    taken = maps.reshape(-1, *maps.shape[2:]).take(pixels, axis=0)
    if kind == "depth" and scale != 1:
        taken /= taken.dtype.type(scale)
    elif kind == "disparity" and scale != 1:
        taken *= taken.dtype.type(scale)
    elif kind == "normals" and flip:
        np.negative(taken[..., 0], out=taken[..., 0])
    return taken


def _enlarge(image: np.ndarray, corner: list[int], sides: list[int], flip: bool) -> np.ndarray:
    """Enlarges a crop bilinearly to the image's size, rows first; float32, in the image's units."""
    crop = image[corner[0] : corner[0] + sides[0], corner[1] : corner[1] + sides[1]]
    values = crop.astype("float32")
    for axis, (side, target) in enumerate(zip(sides, image.shape[:2], strict=True)):
        positions = np.linspace(0, side - 1, target)
        if axis == 1 and flip:
            positions = positions[::-1]
        low = np.minimum(positions.astype("int64"), max(side - 2, 0))
        share = (positions - low).astype("float32").reshape((-1,) + (1,) * (2 - axis))
        below = values.take(low, axis=axis)
        above = values.take(np.minimum(low + 1, side - 1), axis=axis)
        above -= below
        above *= share
        below += above
        values = below
    return values
