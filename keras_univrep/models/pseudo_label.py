"""From what a teacher predicts to what a student is trained with."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

KINDS = ("classes", "segmentation", "boxes", "depth")


def pseudo_label(
    predictions: Any, kind: str, threshold: float = 0.5, ignore_label: int = -1
) -> Any:
    """Turns the predictions of a teacher into targets, without those it is not sure of.

    Differences: he2022 compares with multi-task self-training (table 4) and prints nothing of its
        labels. Hard labels, and a threshold of 0.5 for boxes and pixels, are our reading of it;
        so is the same threshold for images.

    Args:
        predictions: Of `kind`:

            - `"classes"`: logits (batch, classes);
            - `"segmentation"`: logits (batch, height, width, classes);
            - `"boxes"`: objects `{"boxes", "labels", "scores"}`, as of `backbones.decode_boxes`;
            - `"depth"`: depths (batch, height, width, 1).
        kind: One of these.
        threshold: Probability or score below which nothing is labelled; no use for depth.
        ignore_label: Label of images and pixels that do not count.

    Returns:
        NumPy targets, as losses take them: labels (batch,) or (batch, height, width), int32;
        `{"boxes": (batch, places, 4), "labels": (batch, places)}`, with -1 where there is no box;
        depths (batch, height, width, 1), 0 where a depth is not finite and positive.

    Raises:
        ValueError: If `kind` is none of the above, or predictions do not have its shape.

    Example:
        >>> from keras_univrep.models import pseudo_label
        >>> pseudo_label(np.array([[9.0, 0.0], [0.1, 0.0]]), "classes", threshold=0.9).tolist()
        [0, -1]

    References:
        - Ghiasi, Zoph, Cubuk, Le, Lin. Multi-task self-training for learning general
          representations. ICCV 2021.
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
    """
    if kind not in KINDS:
        raise ValueError(
            f"`kind` must be one of {list(KINDS)}. Received: kind={kind!r}. Pass one of these."
        )
    if kind == "boxes":
        return _of_boxes(predictions, threshold)
    values = np.asarray(ops.convert_to_numpy(predictions), "float32")
    rank = 2 if kind == "classes" else 4
    if values.ndim != rank or (kind == "depth" and values.shape[-1] != 1):
        raise ValueError(
            f"Predictions of {kind!r} must have {rank} axes, and depths one channel. Received: "
            f"an array of shape {values.shape}. Pass another `kind`."
        )
    if kind == "depth":
        return np.where(np.isfinite(values) & (values > 0.0), values, 0.0).astype("float32")
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    sure = powers.max(axis=-1) / powers.sum(axis=-1) >= threshold
    return np.where(sure, values.argmax(axis=-1), ignore_label).astype("int32")


def _of_boxes(objects: Any, threshold: float) -> dict[str, np.ndarray]:
    keys = ("boxes", "labels", "scores")
    if not isinstance(objects, Mapping) or not set(keys) <= set(objects):
        came = sorted(objects) if isinstance(objects, Mapping) else type(objects).__name__
        raise ValueError(
            f"Predictions of 'boxes' must hold {list(keys)}. Received: {came}. Decode the outputs "
            "of a network first, by `backbones.decode_boxes`."
        )
    boxes, labels, scores = (np.asarray(ops.convert_to_numpy(objects[key])) for key in keys)
    sure = (labels >= 0) & (scores >= threshold)
    return {
        "boxes": np.where(sure[..., None], boxes, 0.0).astype("float32"),
        "labels": np.where(sure, labels, -1).astype("int32"),
    }
