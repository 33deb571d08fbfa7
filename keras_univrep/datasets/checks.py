"""Checks of the images and labels that a user or a file hands in."""

import numpy as np


def check_split(
    images: np.ndarray, labels: np.ndarray, num_classes: int | None, where: str
) -> None:
    """Checks that images and labels belong together.

    Args:
        images: (n, height, width, channels), 1 or 3 channels, finite.
        labels: (n,) of an integer type, in [0, num_classes).
        num_classes: Number of classes; None leaves the upper end of the labels open.
        where: Words that name the arrays in an error.

    Raises:
        ValueError: If shapes, counts, channels or values do not fit.
        TypeError: If an array is not numeric, or the labels are not integers.
    """
    if images.dtype.kind not in "uif":
        raise TypeError(
            f"Images of {where} must be numbers. Received: dtype {images.dtype}. "
            "Decode the images first, for example with `domain_from_folder`."
        )
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(
            f"Images of {where} must have shape (n, height, width, channels) with 1 or 3 channels. "
            f"Received: {images.shape}. Move the channels last, or add an axis to grey images: "
            "`images[..., None]`."
        )
    if labels.dtype.kind not in "ui":
        raise TypeError(
            f"Labels of {where} must be integers. Received: dtype {labels.dtype}. "
            "Convert them with `labels.astype('int32')`; one-hot labels with `labels.argmax(-1)`."
        )
    if labels.ndim != 1 or len(labels) != len(images) or not len(labels):
        raise ValueError(
            f"Labels of {where} must have shape (n,), one per image, n at least 1. Received: "
            f"labels {labels.shape}, images {images.shape}. Check that both come from the same "
            "split."
        )
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        bad = int(np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))[0])
        raise ValueError(
            f"Images of {where} must be finite. Received: NaN or infinity in image {bad}. "
            "Remove that image or replace the values with `np.nan_to_num`."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        bound = "num_classes" if num_classes is None else num_classes
        raise ValueError(
            f"Labels of {where} must be in [0, {bound}). Received: labels from {low} to {high}. "
            "Count the labels from 0, or pass a larger `num_classes`."
        )
