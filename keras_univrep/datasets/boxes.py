"""Boxes of an image: their format, their limits, and their padding to a fixed count."""

from typing import Any

import numpy as np

# What Keras calls formats of bounding boxes, as the columns that hold (x0, y0, x1, y1).
BOX_FORMATS = ("xyxy", "yxyx", "xywh", "center_xywh", "rel_xyxy", "rel_yxyx", "rel_center_xywh")
# Of corners, in pixels, for their rounding in annotation files.
_ROUNDING = 1e-3


def to_xyxy(boxes: np.ndarray, box_format: str, height: int, width: int) -> np.ndarray:
    """Converts boxes to (left, top, right, bottom) in pixels.

    The numbers are those of `keras.utils.bounding_boxes.convert_format`, without a backend: readers
    convert a million small arrays, each of another size.

    Args:
        boxes: (n, 4).
        box_format: "xyxy", "yxyx", "xywh" or "center_xywh", in pixels, or "rel_xyxy", "rel_yxyx" or
            "rel_center_xywh", in parts of the image's sides.
        height: Of the image, in pixels.
        width: Of the image, in pixels.

    Returns:
        float64 (n, 4).

    Raises:
        ValueError: If the format is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets.boxes import to_xyxy
    >>> to_xyxy(np.array([[0.5, 0.5, 1.0, 0.5]]), "rel_center_xywh", 10, 20).tolist()
    [[0.0, 2.5, 20.0, 7.5]]
    """
    if box_format not in BOX_FORMATS:
        raise ValueError(
            f"`box_format` must be one of {list(BOX_FORMATS)}. Received: "
            f"box_format={box_format!r}. Pass one of these."
        )
    values = np.asarray(boxes, "float64").reshape(-1, 4)
    relative, form = box_format.startswith("rel_"), box_format.removeprefix("rel_")
    if form == "yxyx":
        values = values[:, [1, 0, 3, 2]]
    if form == "xywh":
        values = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:]], axis=1)
    if form == "center_xywh":
        centre, half = values[:, :2], values[:, 2:] / 2
        values = np.concatenate([centre - half, centre + half], axis=1)
    return values * (width, height, width, height) if relative else values


def clip_boxes(
    boxes: np.ndarray, labels: np.ndarray, height: int, width: int, least: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Clips boxes to their image and drops those of which nothing, or too little, is left.

    Args:
        boxes: (n, 4), (left, top, right, bottom) in pixels.
        labels: (n,).
        height: Of the image, in pixels.
        width: Of the image, in pixels.
        least: Share of a box's area that must be left, in [0, 1).

    Returns:
        Boxes (m, 4) and labels (m,), in their order.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets.boxes import clip_boxes
    >>> boxes = np.array([[-2.0, 0.0, 4.0, 4.0], [9.0, 1.0, 12.0, 3.0]])
    >>> clipped, labels = clip_boxes(boxes, np.array([5, 6]), height=8, width=8)
    >>> clipped.tolist(), labels.tolist()
    ([[0.0, 0.0, 4.0, 4.0]], [5])
    """
    clipped = np.clip(boxes, 0, np.array([width, height, width, height], boxes.dtype))
    left, whole = _area(clipped), _area(boxes)
    kept = (left > 0) & (left >= least * whole)
    return clipped[kept], labels[kept]


def pad_boxes(
    boxes: np.ndarray, labels: np.ndarray, max_boxes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pads boxes with zeros and labels with -1 to a fixed count; of more, the largest stay.

    Args:
        boxes: (n, 4), (left, top, right, bottom).
        labels: (n,).
        max_boxes: Count.

    Returns:
        float32 (max_boxes, 4) and int32 (max_boxes,), in their order.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets.boxes import pad_boxes
    >>> pad_boxes(np.array([[0.0, 0.0, 4.0, 4.0]]), np.array([5]), 3)[1].tolist()
    [5, -1, -1]
    """
    if len(boxes) > max_boxes:
        largest = np.sort(np.argsort(-_area(boxes), kind="stable")[:max_boxes])
        boxes, labels = boxes[largest], labels[largest]
    padded = np.zeros((max_boxes, 4), "float32")
    numbers = np.full(max_boxes, -1, "int32")
    padded[: len(boxes)], numbers[: len(labels)] = boxes, labels
    return padded, numbers


def read_boxes(
    boxes: Any,
    labels: Any,
    box_format: str,
    sides: tuple[int, int],
    num_classes: int,
    where: str,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Converts, checks and clips what an annotation says of one image.

    Args:
        boxes: (n, 4), n from 0.
        labels: n whole numbers in [0, num_classes).
        box_format: See `to_xyxy`.
        sides: (height, width) of the image, in pixels.
        num_classes: Number of classes.
        where: Words that name the source and the image in an error.

    Returns:
        Boxes, float64 (m, 4), (left, top, right, bottom) in pixels; labels, int64 (m,); and how
        many boxes were dropped, because they have no area within the image.

    Raises:
        ValueError: If counts, labels or values do not fit, or a box ends before it begins.
    """
    numbers = np.asarray(labels).reshape(-1)
    try:
        found = np.asarray(boxes, "float64")
    except (TypeError, ValueError):  # Rows of unequal length, or no numbers.
        found = np.full(1, np.nan)
    if found.size != 4 * len(numbers):
        raise ValueError(
            f"{where} must have one label for each box of 4 numbers. Received: boxes of shape "
            f"{found.shape} and labels of shape {numbers.shape}. Correct the annotation."
        )
    if len(numbers) and (
        numbers.dtype.kind not in "ui" or numbers.min() < 0 or numbers.max() >= num_classes
    ):
        raise ValueError(
            f"{where} must have labels that are integers in [0, {num_classes}). Received: "
            f"{sorted(set(numbers.tolist()))[:5]}. Correct the annotation, or name all classes."
        )
    found = found.reshape(-1, 4)
    height, width = sides
    corners = to_xyxy(found, box_format, height, width)
    bad = ~np.isfinite(corners).all(1) | (corners[:, 2:] < corners[:, :2] - _ROUNDING).any(1)
    if bad.any():
        raise ValueError(
            f"{where} must have finite boxes that end after they begin, in the format "
            f"{box_format!r}. Received: {found[bad][0].tolist()}. Correct the annotation, or pass "
            "the `box_format` that it has."
        )
    numbers = numbers.astype("int64")
    kept, own = clip_boxes(corners, numbers, height, width)
    return kept, own, len(corners) - len(kept)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
