"""The loss of a detector on anchors: focal loss of classes, smooth L1 of boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops
from keras.utils import bounding_boxes

from keras_univrep.losses._pixels import pixel_dtype
from keras_univrep.losses.anchor_boxes import anchor_boxes
from keras_univrep.types import Tensor

BACKGROUND, IGNORED = -1, -2


@keras.saving.register_keras_serializable(package="keras_univrep")
class DetectionLoss(keras.losses.Loss):
    """Focal loss over all anchors and smooth L1 over those that have an object.

    An anchor has the object with which it overlaps most, if their intersection over union (IoU)
    is at least 0.5; below 0.4 it is background, and between them it does not count.

    Equation:
        Lin et al. (2017), eq. 5 and section 4, for the n > 0 anchors of an image with an object:

            L = 1 / max(n, 1) (sum_a sum_c FL(p_ac) + w sum_(a with an object) S(d_a - t_a))
            FL(p) = -alpha (1 - p)^gamma log p for the class of the object, and
                    -(1 - alpha) p^gamma log(1 - p) for the others
            S(d) = d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, summed over 4 entries
            t = ((x - x_a) / w_a, (y - y_a) / h_a, log(w / w_a), log(h / h_a))

        | symbol | here | shape |
        |---|---|---|
        | p | sigmoid of `prediction["classes"]` | (batch, anchors, classes) |
        | d | `prediction["boxes"]` | (batch, anchors, 4) |
        | (x, y), w, h | centre, width and height of the object; with index a of the anchor | |

    Differences: None known from the paper. KerasHub divides by the anchors with an object of the
        whole batch, has no alpha, takes means over classes and over the four entries, and
        leaves out batches without objects. torchvision has no smooth L1 but L1, which is a
        small `beta`, and `match_best=True`.

    Args:
        image_shape: Height and width of the images, in pixels.
        strides: As for `anchor_boxes`; `RetinaNetHead.detection_loss` knows them.
        anchor_size: As for `anchor_boxes`.
        anchor_scales: As for `anchor_boxes`.
        anchor_ratios: As for `anchor_boxes`.
        alpha: Weight of the class that is there; `None` for no weights.
        gamma: Power of the focal loss; 0 for cross-entropy.
        beta: Where smooth L1 goes from a square to a line.
        box_weight: w.
        thresholds: IoU below which an anchor is background, and from which on it has an object.
        match_best: Whether the anchors that overlap most with an object count as having one
            below these thresholds too. Small objects may otherwise have no anchor.
        reduction: As in `keras.losses.Loss`, over the images.
        name: Name of the loss.
        dtype: float32, also in place of anything narrower, or float64.

    Call arguments:
        target: `{"boxes": (batch, boxes, 4), "labels": (batch, boxes)}`: left, top, right and
            bottom in pixels, and classes from 0 on or -1, for a place without an object. The key
            "classes" does as well as "labels", for `keras.Model.compile`, which wants targets and
            predictions of the same keys: `compile(loss=[DetectionLoss(...)])`, a list of one.
        prediction: `{"boxes": (batch, anchors, 4), "classes": (batch, anchors, classes)}`, as of
            `RetinaNetHead`: differences t and logits.
        sample_weight: `None`, a scalar or `(batch,)`.

    Returns:
        A scalar. NaN for an image with a label that is none of the classes: a compiled step has no
        other way to tell.

    Raises:
        ValueError: If an argument is out of its range, if a key is missing, or if predictions are
            not those of the anchors.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import DetectionLoss, anchor_boxes
        >>> loss = DetectionLoss((32, 32), strides=(16,), anchor_size=1.0)
        >>> count = len(anchor_boxes((32, 32), (16,), anchor_size=1.0))
        >>> target = {"boxes": np.array([[[8, 8, 24, 24.0]]]), "labels": np.array([[1]])}
        >>> prediction = {"boxes": np.zeros((1, count, 4)), "classes": np.zeros((1, count, 2))}
        >>> bool(loss(target, prediction) > 0)
        True

    References:
        - Lin, Goyal, Girshick, He, Dollár. Focal loss for dense object detection. ICCV 2017.
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
    """

    def __init__(
        self,
        image_shape: Sequence[int],
        strides: Sequence[int] = (8, 16, 32, 64, 128),
        anchor_size: float = 4.0,
        anchor_scales: int = 3,
        anchor_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        beta: float = 1.0,
        box_weight: float = 1.0,
        thresholds: Sequence[float] = (0.4, 0.5),
        match_best: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "detection",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=pixel_dtype(dtype))
        _check(alpha, gamma, beta, box_weight, thresholds)
        self.image_shape = tuple(image_shape)
        self.strides = tuple(strides)
        self.anchor_size = anchor_size
        self.anchor_scales = anchor_scales
        self.anchor_ratios = tuple(anchor_ratios)
        self.alpha = alpha
        self.gamma = gamma
        self.beta = beta
        self.box_weight = box_weight
        self.thresholds = tuple(thresholds)
        self.match_best = match_best
        self.anchors = anchor_boxes(
            self.image_shape, self.strides, anchor_size, anchor_scales, self.anchor_ratios
        )

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        # What Keras makes of keys that differ, and of a loss that is not in a list.
        names = isinstance(y_true, Mapping) and any(isinstance(v, str) for v in y_true.values())
        if names or not isinstance(y_true, Mapping) or not isinstance(y_pred, Mapping):
            raise ValueError(
                "`DetectionLoss` compares two dictionaries. Received: targets of type "
                f"{type(y_true).__name__}, predictions of type {type(y_pred).__name__}, or targets "
                "of other keys than predictions, which Keras tears apart. In `keras.Model.compile` "
                "pass `loss=[DetectionLoss(...)]`, a list of one, and targets with the keys "
                "'boxes' and 'classes'."
            )
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Mapping[str, Tensor], y_pred: Mapping[str, Tensor]) -> Tensor:
        parts = self.parts(y_true, y_pred)
        return parts["classes"] + self.box_weight * parts["boxes"]

    def parts(
        self, target: Mapping[str, Tensor], prediction: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Returns both terms of the loss for each image.

        Args:
            target: As for the loss.
            prediction: As for the loss.

        Returns:
            `{"classes": (batch,), "boxes": (batch,)}`.
        """
        boxes, labels = _unpacked(target)
        deltas = ops.convert_to_tensor(prediction["boxes"], dtype=self.dtype)
        logits = ops.convert_to_tensor(prediction["classes"], dtype=self.dtype)
        self._check_sizes(deltas, logits)
        found, right = self.targets({"boxes": boxes, "labels": labels})
        present = ops.cast(found >= 0, self.dtype)
        count = ops.maximum(ops.sum(present, axis=1), 1.0)
        classes = ops.arange(logits.shape[-1], dtype="int32")
        one_hot = ops.cast(found[..., None] == classes, self.dtype)
        entropies = ops.sum(self._focal(one_hot, logits), axis=-1)
        counts = ops.cast(found != IGNORED, self.dtype)
        distance = ops.abs(deltas - right)
        smooth = ops.where(
            distance < self.beta, 0.5 * ops.square(distance) / self.beta, distance - 0.5 * self.beta
        )
        known = ops.all(ops.cast(labels, "int32") < logits.shape[-1], axis=1)
        values = ops.sum(entropies * counts, axis=1) / count
        return {
            "classes": ops.where(known, values, float("nan")),
            "boxes": ops.sum(ops.sum(smooth, axis=-1) * present, axis=1) / count,
        }

    def targets(self, target: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Returns what each anchor should answer.

        Args:
            target: As for the loss.

        Returns:
            Classes (batch, anchors), int32, with -1 for background and -2 for anchors that do not
            count; and t, (batch, anchors, 4), zeros where there is no object.
        """
        boxes, labels = _unpacked(target)
        boxes = ops.stop_gradient(ops.convert_to_tensor(boxes, dtype=self.dtype))
        labels = ops.cast(labels, "int32")
        anchors = ops.convert_to_tensor(self.anchors, dtype=self.dtype)
        overlap = bounding_boxes.compute_iou(anchors, boxes, "xyxy")
        overlap = ops.where(labels[:, None, :] >= 0, overlap, -1.0)
        best, index = ops.max(overlap, axis=-1), ops.cast(ops.argmax(overlap, axis=-1), "int32")
        low, high = self.thresholds
        present = best >= high
        if self.match_best:
            most = ops.max(overlap, axis=1, keepdims=True)
            own = ops.logical_and(overlap == most, most > 0.0)
            present = ops.logical_or(present, ops.any(own, axis=-1))
        of_anchor = ops.take_along_axis(labels, index, axis=1)
        none = ops.where(best < low, BACKGROUND, IGNORED)
        found = ops.where(present, of_anchor, ops.cast(none, "int32"))
        rows = ops.broadcast_to(index[..., None], (*ops.shape(index), 4))
        # Where there is no object the anchor itself: its differences are 0, not log 0.
        matched = ops.where(present[..., None], ops.take_along_axis(boxes, rows, axis=1), anchors)
        deltas = bounding_boxes.encode_box_to_deltas(
            anchors, matched, "xyxy", "xyxy", encoding_format="center_xywh"
        )
        return found, ops.cast(deltas, self.dtype)

    def _focal(self, one_hot: Tensor, logits: Tensor) -> Tensor:
        """FL of each class of each anchor."""
        # The logarithm of the probability of what is true, and of its opposite.
        signed = (2.0 * one_hot - 1.0) * logits
        value = ops.softplus(-signed)
        if self.gamma:
            value = value * ops.exp(-self.gamma * ops.softplus(signed))
        if self.alpha is None:
            return value
        return value * (self.alpha * one_hot + (1.0 - self.alpha) * (1.0 - one_hot))

    def _check_sizes(self, deltas: Tensor, logits: Tensor) -> None:
        sizes = (deltas.shape[1], logits.shape[1])
        if any(size not in (None, len(self.anchors)) for size in sizes) or deltas.shape[-1] != 4:
            raise ValueError(
                f"Predictions must be those of the {len(self.anchors)} anchors of images of "
                f"{self.image_shape} with the strides {self.strides}. Received: boxes of shape "
                f"{tuple(deltas.shape)}, classes of shape {tuple(logits.shape)}. Make the loss by "
                "`head.detection_loss(image_shape)`."
            )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "image_shape": self.image_shape,
            "strides": self.strides,
            "anchor_size": self.anchor_size,
            "anchor_scales": self.anchor_scales,
            "anchor_ratios": self.anchor_ratios,
            "alpha": self.alpha,
            "gamma": self.gamma,
            "beta": self.beta,
            "box_weight": self.box_weight,
            "thresholds": self.thresholds,
            "match_best": self.match_best,
            "dtype": self.dtype,
        }


def _unpacked(target: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    key = "labels" if "labels" in target else "classes"
    if "boxes" not in target or key not in target:
        raise ValueError(
            "Targets of detection must be {'boxes': (batch, boxes, 4), 'labels': (batch, boxes)}. "
            f"Received: the keys {sorted(target)}. Pad images with fewer boxes by the label -1."
        )
    boxes, labels = target["boxes"], target[key]
    if len(boxes.shape) != 3 or boxes.shape[-1] != 4 or len(labels.shape) != 2:
        raise ValueError(
            "Boxes must have the shape (batch, boxes, 4) and labels (batch, boxes). Received: "
            f"{tuple(boxes.shape)} and {tuple(labels.shape)}. Pad images with fewer boxes by the "
            "label -1."
        )
    return boxes, labels


def _check(
    alpha: float | None, gamma: float, beta: float, weight: float, thresholds: Sequence[float]
) -> None:
    good = (alpha is None or 0.0 <= alpha <= 1.0) and gamma >= 0 and beta > 0 and weight >= 0
    if not good:
        raise ValueError(
            "`alpha` must be in [0, 1] or None, `gamma` and `box_weight` not negative, `beta` "
            f"positive. Received: alpha={alpha}, gamma={gamma}, box_weight={weight}, beta={beta}. "
            "Pass alpha=0.25, gamma=2.0, box_weight=1.0, beta=1.0 for the paper's."
        )
    if len(thresholds) != 2 or not 0.0 < thresholds[0] <= thresholds[1] <= 1.0:
        raise ValueError(
            "`thresholds` must be two numbers in (0, 1], in order. Received: "
            f"thresholds={tuple(thresholds)}. Pass (0.4, 0.5) for the paper's."
        )
