"""Average precision of detected boxes, as COCO and as PASCAL VOC have it."""

import contextlib
import importlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from keras_univrep.types import Tensor

VOC_OVERLAP = 0.5


class BoxAveragePrecision:
    """Average precision over a whole data set, by pycocotools; collected outside of `compile`.

    Equation:
        For a class, with the detections of all images in descending order of their score, and a
        detection true if it overlaps enough with an object that none before it took:

            AP = sum_n (r_n - r_(n-1)) max_(m >= n) p_m

        | symbol | here |
        |---|---|
        | p_n, r_n | share of the first n detections that are true, of the objects found by them |

        averaged over the classes that have objects. `"map"` is COCO's: p at 101 values of r, then
        the mean over intersections over union (IoU) of 0.5, 0.55 .. 0.95; `"ap50"` its value at
        0.5. `"voc_ap50"` is PASCAL VOC's at 0.5: the area above, or p at 11 values of r.

    Differences: None known. COCO gives a detection the best object that is still free, VOC the best
        object, and none if that one is taken. he2022 does not say which of the two VOC forms
        its table 2 has.

    Args:
        eleven_points: Whether `"voc_ap50"` is that of VOC 2007, a mean over 11 recalls, in place of
            the area (VOC 2010 and later).
        max_detections: Detections of an image that count, the best ones, for COCO's numbers.

    Raises:
        ImportError: If pycocotools is not installed, at `result`.
        ValueError: If boxes, labels and scores do not belong together.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.metrics import BoxAveragePrecision
        >>> metric = BoxAveragePrecision()
        >>> boxes = np.array([[[0, 0, 8, 8], [9, 9, 16, 16]]])
        >>> metric.update_state(
        ...     {"boxes": boxes, "labels": np.array([[0, 1]])},
        ...     {"boxes": boxes, "labels": np.array([[0, -1]]), "scores": np.array([[0.9, 0.0]])},
        ... )
        >>> metric.result()["voc_ap50"]  # All of class 0, nothing of class 1.
        0.5

    References:
        - Lin et al. Microsoft COCO: common objects in context. ECCV 2014.
        - Everingham et al. The PASCAL visual object classes (VOC) challenge. IJCV 2010.
    """

    def __init__(self, eleven_points: bool = False, max_detections: int = 100) -> None:
        if max_detections < 1:
            raise ValueError(
                f"`max_detections` must be positive. Received: max_detections={max_detections}. "
                "Pass 100 for COCO's."
            )
        self.eleven_points = eleven_points
        self.max_detections = max_detections
        self.reset_state()

    def reset_state(self) -> None:
        """Forgets all images."""
        # Of each image: boxes, labels, and of detections scores too.
        self.truths: list[tuple[np.ndarray, np.ndarray]] = []
        self.found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def update_state(self, y_true: Mapping[str, Tensor], y_pred: Mapping[str, Tensor]) -> None:
        """Adds the images of a batch.

        Args:
            y_true: `{"boxes": (batch, boxes, 4), "labels": (batch, boxes)}`: left, top, right,
                bottom in pixels; the label -1 where there is no object.
            y_pred: `{"boxes": (batch, places, 4), "labels": (batch, places), "scores": (batch,
                places)}`, as of `backbones.decode_boxes`.
        """
        boxes, labels = _arrays(y_true, ("boxes", "labels"))
        places, classes, scores = _arrays(y_pred, ("boxes", "labels", "scores"))
        if len(boxes) != len(places):
            raise ValueError(
                "Targets and predictions must be of the same images. Received: "
                f"{len(boxes)} and {len(places)} images. Pass whole batches of both."
            )
        for row, kinds in zip(boxes, labels, strict=True):
            self.truths.append((row[kinds >= 0], kinds[kinds >= 0]))
        for row, kinds, values in zip(places, classes, scores, strict=True):
            there = kinds >= 0
            self.found.append((row[there], kinds[there], values[there]))

    def result(self) -> dict[str, float]:
        """Returns the averages over classes.

        Returns:
            `{"map": .., "ap50": .., "voc_ap50": ..}`, from 0 to 1; NaN without any object.
        """
        voc = self.voc_ap50()
        mean = float(np.mean(list(voc.values()))) if voc else float("nan")
        return {**self._coco(), "voc_ap50": mean}

    def voc_ap50(self) -> dict[int, float]:
        """Returns PASCAL VOC's average precision of each class that has objects."""
        kinds = sorted({int(k) for _, labels in self.truths for k in labels})
        return {kind: self._voc_of(kind) for kind in kinds}

    def _voc_of(self, kind: int) -> float:
        truths = [boxes[labels == kind] for boxes, labels in self.truths]
        entries = [
            (score, image, box)
            for image, (boxes, labels, scores) in enumerate(self.found)
            for box, score in zip(boxes[labels == kind], scores[labels == kind], strict=True)
        ]
        entries.sort(key=lambda entry: -entry[0])
        free = [np.ones(len(boxes), bool) for boxes in truths]
        true = np.zeros(len(entries))
        for number, (_, image, box) in enumerate(entries):
            overlaps = _overlaps(box, truths[image])
            best = int(overlaps.argmax()) if len(overlaps) else -1
            if best >= 0 and overlaps[best] >= VOC_OVERLAP and free[image][best]:
                free[image][best], true[number] = False, 1.0
        hits = np.cumsum(true)
        recall = hits / sum(map(len, truths))
        precision = hits / np.arange(1, len(entries) + 1)
        # The best precision at this recall or a higher one.
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        if self.eleven_points:
            reached = [precision[recall >= r - 1e-9] for r in np.linspace(0.0, 1.0, 11)]
            return float(np.mean([values[0] if len(values) else 0.0 for values in reached]))
        return float(np.sum(np.diff(recall, prepend=0.0) * precision))

    def _coco(self) -> dict[str, float]:
        coco, cocoeval = _pycocotools("coco"), _pycocotools("cocoeval")
        kinds = sorted({int(k) for _, labels in self.truths for k in labels})
        if not kinds:
            return {"map": float("nan"), "ap50": float("nan")}
        annotations = [
            {"image_id": image, "category_id": int(kind), "bbox": _corner_and_size(box),
             "area": float(np.prod(box[2:] - box[:2])), "iscrowd": 0}
            for image, (boxes, labels) in enumerate(self.truths)
            for box, kind in zip(boxes, labels, strict=True)
        ]  # fmt: skip
        # From 1 on: it takes an object numbered 0 for none.
        for number, annotation in enumerate(annotations, start=1):
            annotation["id"] = number
        rows = [
            [image, *_corner_and_size(box), score, kind]
            for image, found in enumerate(self.found)
            for box, kind, score in zip(*found, strict=True)
        ]
        if not rows:
            return {"map": 0.0, "ap50": 0.0}
        # It reports on standard output.
        with contextlib.redirect_stdout(io.StringIO()):
            truth = coco.COCO()
            truth.dataset = {
                "info": {},
                "images": [{"id": image} for image in range(len(self.truths))],
                "categories": [{"id": kind} for kind in kinds],
                "annotations": annotations,
            }
            truth.createIndex()
            evaluation = cocoeval.COCOeval(truth, truth.loadRes(np.array(rows)), "bbox")
            evaluation.params.maxDets = [1, 10, self.max_detections]
            evaluation.evaluate()
            evaluation.accumulate()
        # IoU, recall, class, area (all, small, medium, large), number of detections.
        precision = evaluation.eval["precision"][:, :, :, 0, -1]
        return {"map": float(precision.mean()), "ap50": float(precision[0].mean())}


def _pycocotools(module: str) -> Any:
    try:
        return importlib.import_module(f"pycocotools.{module}")
    except ImportError as error:
        raise ImportError(
            "COCO's average precision needs pycocotools. Received: no module `pycocotools`. "
            "Install it by `pip install 'keras_univrep[detection]'`."
        ) from error


def _corner_and_size(box: np.ndarray) -> list[float]:
    left, top, right, bottom = (float(value) for value in box)
    return [left, top, right - left, bottom - top]


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union with each of the others."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.prod(np.maximum(sides, 0.0), axis=-1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=-1)
    return both / np.maximum(np.prod(box[2:] - box[:2]) + areas - both, 1e-12)


def _arrays(values: Mapping[str, Tensor], keys: tuple[str, ...]) -> list[np.ndarray]:
    if not isinstance(values, Mapping) or not set(keys) <= set(values):
        came = sorted(values) if isinstance(values, Mapping) else type(values).__name__
        raise ValueError(
            f"There must be the entries {list(keys)}. Received: {came}. Decode the outputs of a "
            "network first, by `backbones.decode_boxes`."
        )
    found = [np.asarray(ops.convert_to_numpy(values[key])) for key in keys]
    boxes = found[0]
    if boxes.ndim != 3 or boxes.shape[2] != 4 or any(v.shape != boxes.shape[:2] for v in found[1:]):
        raise ValueError(
            "Boxes must be (batch, places, 4), and labels and scores (batch, places). Received: "
            f"{ {key: value.shape for key, value in zip(keys, found)} }. Pad by the label -1."
        )
    return [boxes.astype("float64"), *found[1:]]
