"""The boxes that a detector on a pyramid of maps corrects."""

import math
from collections.abc import Sequence

import numpy as np


def anchor_boxes(
    image_shape: Sequence[int],
    strides: Sequence[int] = (8, 16, 32, 64, 128),
    anchor_size: float = 4.0,
    anchor_scales: int = 3,
    anchor_ratios: Sequence[float] = (0.5, 1.0, 2.0),
) -> np.ndarray:
    """Returns the anchors of all positions of all maps, from the finest map to the coarsest.

    Equation:
        Lin et al. (2017, focal loss), section 4, at the position (i, j) of a map of stride s, for
        the scales k = 0 .. K - 1 and the ratios r of height to width:

            a = round(s A 2^(k / K)),   box = (j s, i s) -/+ (a / sqrt(r), a sqrt(r)) / 2

        | symbol | here |
        |---|---|
        | A, K, r | `anchor_size`, `anchor_scales`, an entry of `anchor_ratios` |

    Differences: Not printed is where in a cell its anchors are, and that sides are whole numbers:
        both as in torchvision and KerasHub, whose anchors these are: the corner of the cell, half
        sides rounded, a cut down in place of rounded. On images that a stride does not
        divide, cells are the whole number of pixels that fits as often as the map has positions.

    Args:
        image_shape: Height and width of the images, in pixels.
        strides: Of the maps, from fine to coarse.
        anchor_size: Side of the smallest square anchor of a map, in its strides.
        anchor_scales: Number of sizes of an octave.
        anchor_ratios: Height over width of anchors of equal area.

    Returns:
        Boxes (left, top, right, bottom) in pixels, (anchors, 4), float32. At a position the sizes
        of the first ratio come first.

    Raises:
        ValueError: If a number is not positive.

    Example:
        >>> from keras_univrep.losses import anchor_boxes
        >>> anchors = anchor_boxes((64, 64), (8, 16), anchor_scales=1, anchor_ratios=(1.0,))
        >>> anchors.shape, anchors[0].tolist()
        ((80, 4), [-16.0, -16.0, 16.0, 16.0])

    References:
        - Lin, Goyal, Girshick, He, Dollár. Focal loss for dense object detection. ICCV 2017.
    """
    _check(image_shape, strides, anchor_size, anchor_scales, anchor_ratios)
    height, width = image_shape
    found = []
    for stride in strides:
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        sides = np.array(
            [int(stride * anchor_size * 2 ** (k / anchor_scales)) for k in range(anchor_scales)]
        )
        root = np.sqrt(np.array(anchor_ratios))[:, None]
        half = np.round(np.stack([sides / root, sides * root], axis=-1).reshape(-1, 2) / 2.0)
        x = np.arange(columns) * (width // columns)
        y = np.arange(rows) * (height // rows)
        centres = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 1, 2)
        boxes = np.concatenate([centres - half, centres + half], axis=-1)
        found.append(boxes.reshape(-1, 4))
    return np.concatenate(found).astype("float32")


def _check(
    image_shape: Sequence[int],
    strides: Sequence[int],
    size: float,
    scales: int,
    ratios: Sequence[float],
) -> None:
    if len(image_shape) != 2 or any(not isinstance(n, int) or n < 1 for n in image_shape):
        raise ValueError(
            "`image_shape` must be height and width, in pixels. Received: "
            f"image_shape={tuple(image_shape)}. Pass e.g. (64, 64)."
        )
    numbers = [*strides, size, scales, *ratios]
    if not strides or not ratios or any(not number > 0 for number in numbers):
        raise ValueError(
            "Strides, sizes, scales and ratios of anchors must be positive numbers. Received: "
            f"strides={tuple(strides)}, anchor_size={size}, anchor_scales={scales}, "
            f"anchor_ratios={tuple(ratios)}. Leave out what you do not need to change."
        )
