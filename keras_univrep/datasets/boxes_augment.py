"""Random enlarging and mirroring of an image together with its boxes, in NumPy alone."""

from collections.abc import Sequence

import numpy as np

from keras_univrep.datasets.boxes import clip_boxes, pad_boxes
from keras_univrep.datasets.dense_augment import SCALES, dense_augment


def boxes_augment(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    rng: np.random.Generator,
    augmentation: str | None = "scale_crop_flip",
    scales: Sequence[float] = SCALES,
    min_visible: float = 0.25,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Enlarges a random part of an image to its size, and mirrors it half of the time.

    The image is that of `dense_augment` with the same draws. Boxes follow, are clipped, and leave
    if less than `min_visible` of their area stays in the image: what is left of a thing no longer
    shows it. The others keep their order.

    Args:
        image: (height, width, channels), uint8 in [0, 255] or float in [0, 1].
        boxes: (max_boxes, 4), (left, top, right, bottom) in pixels.
        labels: (max_boxes,), -1 for no box.
        rng: Source of the draws. It always gives four, whatever the augmentation.
        augmentation: "scale_crop_flip", "scale_crop", "flip" or None.
        scales: Factors of enlarging to choose from, at least 1, dimensionless.
        min_visible: Share of a box's area that must stay, in [0, 1).

    Returns:
        The image, float32 in [0, 1], boxes, float32, and labels, int32, of the same shapes.

    Raises:
        ValueError: If the augmentation is unknown, a scale is below 1 or the share out of range.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import boxes_augment
    >>> image, rng = np.zeros((12, 18, 3), "uint8"), np.random.default_rng(0)
    >>> boxes, labels = np.array([[0, 0, 6, 12]], "float32"), np.array([1], "int32")
    >>> _, boxes, labels = boxes_augment(image, boxes, labels, rng, "flip")
    >>> boxes.tolist(), labels.tolist()
    ([[12.0, 0.0, 18.0, 12.0]], [1])
    """
    check_min_visible(min_visible)
    state = rng.bit_generator.state
    values, _ = dense_augment(image, {}, {}, rng, augmentation, scales)
    ahead = np.random.Generator(type(rng.bit_generator)())
    ahead.bit_generator.state = state
    # What `dense_augment` makes of these draws.
    draws = ahead.random(4)
    height, width = image.shape[:2]
    scale = 1.0
    if augmentation is not None and augmentation.startswith("scale_crop"):
        scale = float(scales[int(draws[0] * len(scales))])
    sides = np.array([int(side / scale + 1e-9) for side in (width, height)])
    corner = (draws[[2, 1]] * (np.array([width, height]) - sides + 1)).astype("int64")
    real = labels >= 0
    placed = boxes[real].astype("float64") - np.tile(corner, 2)
    placed *= np.tile(np.array([width, height]) / sides, 2)
    if augmentation is not None and augmentation.endswith("flip") and draws[3] < 0.5:
        placed[:, [0, 2]] = width - placed[:, [2, 0]]
    kept, own = clip_boxes(placed, labels[real], height, width, min_visible)
    return values, *pad_boxes(kept, own, len(boxes))


def check_min_visible(min_visible: float) -> None:
    """Checks the share of a box that must stay."""
    if not 0 <= min_visible < 1:
        raise ValueError(
            f"`min_visible` must be in [0, 1). Received: min_visible={min_visible}. Pass, for "
            "example, 0.25."
        )
