"""From the outputs of a detector to objects."""

from collections.abc import Mapping, Sequence

import numpy as np
from keras import ops
from keras.utils import bounding_boxes

from keras_univrep.types import Tensor


def decode_boxes(
    outputs: Mapping[str, Tensor],
    anchors: np.ndarray,
    image_shape: Sequence[int],
    score_threshold: float = 0.05,
    iou_threshold: float = 0.5,
    max_detections: int = 100,
    max_candidates: int = 1000,
) -> dict[str, Tensor]:
    """Returns the objects of each image, as many places for all, best first.

    The entries of highest score (a class of an anchor each) are decoded and cut at the edges
    of the image. Then, class by class, an entry goes if it overlaps too much with one of higher
    score that stays (non-maximum suppression).

    Equation:
        For the entries i in descending order of their score, with c_i the class:

            keep_i = not any_(j < i) (keep_j and c_j = c_i and IoU(i, j) > iou_threshold)

        repeated for all i at once from keep_i = 1, until nothing changes: entry i is right after i
        rounds at the latest, and mostly all are after a few.

    Differences: Candidates are the best of all maps together, where Lin et al. (2017) take 1000 of
        each map. KerasHub suppresses across classes, and gives an anchor its best class alone.

    Args:
        outputs: `{"boxes": (batch, anchors, 4), "classes": (batch, anchors, classes)}`, as of
            `RetinaNetHead`.
        anchors: (anchors, 4) in pixels, as of `losses.anchor_boxes`.
        image_shape: Height and width of the images, in pixels.
        score_threshold: What scores less is no object.
        iou_threshold: Overlap from which on two boxes of one class are one object.
        max_detections: Number of places for objects.
        max_candidates: Number of entries that go into the suppression.

    Returns:
        `{"boxes": (batch, max_detections, 4), "labels": (batch, max_detections), "scores": (batch,
        max_detections)}`: left, top, right, bottom in pixels; classes, int32, and -1 where there
        is no object; probabilities, and 0 there.

    Raises:
        ValueError: If outputs and anchors do not belong together, or a number is out of its range.

    Example:
        >>> from keras_univrep.backbones import decode_boxes
        >>> anchors = np.array([[0, 0, 8, 8], [0, 0, 8, 9], [8, 8, 16, 16]], "float32")
        >>> logits = np.array([[[9.0, -9.0], [8.0, -9.0], [-9.0, 7.0]]])
        >>> outputs = {"boxes": np.zeros((1, 3, 4)), "classes": logits}
        >>> objects = decode_boxes(outputs, anchors, (16, 16), max_detections=3)
        >>> [int(label) for label in objects["labels"][0]]
        [0, 1, -1]

    References:
        - Lin, Goyal, Girshick, He, Dollár. Focal loss for dense object detection. ICCV 2017.
    """
    deltas = ops.cast(outputs["boxes"], "float32")
    logits = ops.cast(outputs["classes"], "float32")
    _check(deltas, logits, anchors, iou_threshold, max_detections, max_candidates)
    num_classes = logits.shape[-1]
    scores = ops.reshape(ops.sigmoid(logits), (-1, len(anchors) * num_classes))
    count = min(max_candidates, scores.shape[1])
    scores, index = ops.top_k(scores, count)
    labels, rows = index % num_classes, index // num_classes
    rows = ops.broadcast_to(rows[..., None], (*ops.shape(rows), 4))
    boxes = bounding_boxes.decode_deltas_to_boxes(
        ops.take(ops.convert_to_tensor(anchors, "float32"), index // num_classes, axis=0),
        ops.take_along_axis(deltas, rows, axis=1),
        "xyxy",
        "xyxy",
        encoded_format="center_xywh",
    )
    height, width = image_shape
    boxes = ops.clip(boxes, 0.0, np.array([width, height, width, height], "float32"))
    scores = ops.where(scores >= score_threshold, scores, 0.0)
    kept = _suppressed(boxes, labels, scores, iou_threshold)
    if count < max_detections:
        more = [(0, 0), (0, max_detections - count)]
        boxes, labels = ops.pad(boxes, [*more, (0, 0)]), ops.pad(labels, more)
        kept = ops.pad(kept, more)
    scores, index = ops.top_k(kept, max_detections)
    there = scores > 0.0
    rows = ops.broadcast_to(index[..., None], (*ops.shape(index), 4))
    boxes = ops.take_along_axis(boxes, rows, axis=1)
    labels = ops.cast(ops.take_along_axis(labels, index, axis=1), "int32")
    return {
        "boxes": ops.where(there[..., None], boxes, 0.0),
        "labels": ops.where(there, labels, -1),
        "scores": scores,
    }


def _suppressed(boxes: Tensor, labels: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Scores in descending order, 0 for what is the same object as an entry before."""
    overlap = bounding_boxes.compute_iou(boxes, boxes, "xyxy")
    same = ops.logical_and(overlap > threshold, labels[:, :, None] == labels[:, None, :])
    before = np.triu(np.ones((boxes.shape[1],) * 2, "float32"), 1)
    # Entry (j, i): whether j stands before i and overlaps with it.
    hides = ops.cast(same, "float32") * ops.convert_to_tensor(before)
    first = ops.cast(scores > 0.0, "float32")

    def goes_on(keep: Tensor, old: Tensor) -> Tensor:
        return ops.any(keep != old)

    def step(keep: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        hidden = ops.squeeze(ops.matmul(keep[:, None, :], hides), axis=1) > 0.5
        return ops.where(hidden, 0.0, first), keep

    keep, _ = ops.while_loop(goes_on, step, (first, -ops.ones_like(first)))
    return keep * scores


def _check(
    deltas: Tensor,
    logits: Tensor,
    anchors: np.ndarray,
    iou_threshold: float,
    max_detections: int,
    max_candidates: int,
) -> None:
    if anchors.shape[1:] != (4,) or {deltas.shape[1], logits.shape[1]} != {len(anchors)}:
        raise ValueError(
            "There must be a box and the scores of each anchor. Received: boxes of shape "
            f"{tuple(deltas.shape)}, classes of shape {tuple(logits.shape)}, anchors of shape "
            f"{tuple(anchors.shape)}. Pass the anchors of images of this size, "
            "`head.anchors(image_shape)`."
        )
    if not 0.0 <= iou_threshold <= 1.0 or min(max_detections, max_candidates) < 1:
        raise ValueError(
            "`iou_threshold` must be in [0, 1], `max_detections` and `max_candidates` positive. "
            f"Received: iou_threshold={iou_threshold}, max_detections={max_detections}, "
            f"max_candidates={max_candidates}. Leave out what you do not need to change."
        )
