"""Checks of the images and targets of a source."""

from typing import Any

import numpy as np

from keras_univrep.datasets.checks import check_split
from keras_univrep.datasets.dense_checks import check_dense

SOURCE_KINDS = ("classification", "detection", "segmentation", "depth")


def check_source(
    kind: str,
    images: np.ndarray,
    targets: Any,
    image_shape: tuple[int, int, int],
    channels: int,
    max_boxes: int,
    where: str,
) -> None:
    """Checks that images and targets belong together.

    Args:
        kind: One of `SOURCE_KINDS`.
        images: uint8 (n, height, width, channels).
        targets: As `Source` wants them.
        image_shape: (height, width, channels) that images must have.
        channels: Number of classes, or 1 for depth.
        max_boxes: Boxes of each image, for detection.
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
    if images.ndim != 4 or images.shape[1:] != tuple(image_shape) or not len(images):
        raise ValueError(
            f"Images of {where} must have shape (n, {', '.join(map(str, image_shape))}), n at "
            f"least 1. Received: {images.shape}. Pass the matching `image_shape`, resize the "
            "images, or repeat a grey channel three times."
        )
    if (kind == "detection") != isinstance(targets, dict):
        raise TypeError(
            f"Targets of {where} ({kind}) must be "
            f"{'a dict of boxes and labels' if kind == 'detection' else 'one array'}. Received: "
            f"{type(targets).__name__}. Pass the targets of that kind."
        )
    if kind == "detection":
        _check_boxes(images, targets, channels, max_boxes, where)
    elif kind == "classification":
        check_split(images, targets, channels, where)
        if targets.dtype != np.int32:
            raise TypeError(
                f"Labels of {where} must be int32. Received: {targets.dtype}. Convert them with "
                "`labels.astype('int32')`."
            )
    else:
        check_dense(images, {kind: targets}, {kind: kind}, {kind: channels}, where)


def _check_boxes(
    images: np.ndarray, targets: dict[str, np.ndarray], classes: int, max_boxes: int, where: str
) -> None:
    wanted = {"boxes": (len(images), max_boxes, 4), "labels": (len(images), max_boxes)}
    found = {name: array.shape for name, array in targets.items()}
    if found != wanted:
        raise ValueError(
            f"Targets of {where} must have the shapes {wanted}. Received: {found}. Pad the boxes "
            "of each image to `max_boxes` with the label -1, or use `detection_source`."
        )
    boxes, labels = targets["boxes"], targets["labels"]
    if boxes.dtype != np.float32 or labels.dtype != np.int32:
        raise TypeError(
            f"Boxes of {where} must be float32 and labels int32. Received: {boxes.dtype} and "
            f"{labels.dtype}. Use `detection_source`, which converts them."
        )
    if labels.min() < -1 or labels.max() >= classes:
        raise ValueError(
            f"Labels of boxes of {where} must be in [0, {classes}), or -1 for no box. Received: "
            f"labels from {labels.min()} to {labels.max()}. Name all classes."
        )
    height, width = images.shape[1:3]
    real = labels >= 0
    low, high = boxes[..., :2], boxes[..., 2:]
    good = ((low >= 0) & (low < high) & (high <= (width, height))).all(-1)
    if (real & ~good).any():
        image, number = (int(axis[0]) for axis in np.nonzero(real & ~good))
        raise ValueError(
            f"Boxes of {where} must be (left, top, right, bottom) in pixels, within the image of "
            f"{height}x{width}, with an area. Received: {boxes[image, number].tolist()} in image "
            f"{image}. Use `detection_source`, which clips boxes and drops those outside."
        )
