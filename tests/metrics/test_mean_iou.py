"""Mean intersection over union: which pixels and classes count."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.metrics import MeanIoU
from tests.golden_dense import CLASSES, golden_labels

LABELS, LOGITS = golden_labels()


def iou(labels: np.ndarray, predicted: np.ndarray, classes: int) -> float:
    metric = MeanIoU(classes)
    metric.update_state(labels, np.eye(classes)[predicted])
    return float(metric.result())


def _no_loss(target: Any, prediction: Any) -> Any:
    return 0.0 * ops.mean(prediction, axis=(1, 2, 3))


def test_value_equals_unions_counted_class_by_class() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(-1, 6, (3, 5, 7)), rng.integers(0, 6, (3, 5, 7))
    known = labels != -1
    ratios = [
        np.sum((labels == k) & (predicted == k))
        / np.sum(((labels == k) | (predicted == k)) & known)
        for k in range(6)
    ]
    assert iou(labels, predicted, 6) == pytest.approx(np.mean(ratios), rel=1e-6)


def test_mean_over_images_is_another_number() -> None:
    """The golden number of scripts before 2020: by image, with what is predicted in void pixels."""
    predicted = np.argmax(LOGITS, axis=-1)
    images = []
    for labels, guesses in zip(LABELS, predicted):
        unions = [np.sum((labels == k) | (guesses == k)) for k in range(CLASSES)]
        both = [np.sum((labels == k) & (guesses == k)) for k in range(CLASSES)]
        images.append(np.mean([i / u for i, u in zip(both, unions) if u]))
    assert np.mean(images) == pytest.approx(0.101785719, abs=1e-8)
    assert iou(LABELS, predicted, CLASSES) == pytest.approx(0.110086580, abs=1e-7)


def test_class_that_is_absent_does_not_count() -> None:
    labels = np.array([[[0, 0, 1, 1]]])
    predicted = np.array([[[0, 0, 1, 0]]])
    assert (
        iou(labels, predicted, 2) == iou(labels, predicted, 9) == pytest.approx((2 / 3 + 0.5) / 2)
    )


def test_class_that_is_predicted_alone_counts_as_zero() -> None:
    labels, predicted = np.array([[[0, 0, 0, 0]]]), np.array([[[0, 0, 0, 1]]])
    assert iou(labels, predicted, 3) == pytest.approx(0.75 / 2)


def test_prediction_in_void_pixels_does_not_count() -> None:
    labels = np.array([[[0, 1, -1, -1]]])
    assert iou(labels, np.array([[[0, 1, 2, 0]]]), 3) == 1.0


def test_any_label_can_be_the_ignored_one() -> None:
    metric = MeanIoU(CLASSES, ignore_label=255)
    metric.update_state(np.where(LABELS == -1, 255, LABELS).astype("uint8"), LOGITS)
    assert float(metric.result()) == pytest.approx(0.110086580, rel=1e-5)


def test_label_outside_the_classes_is_named() -> None:
    labels = LABELS.copy()
    labels[0, 0, :2] = 7, -3
    with pytest.raises(ValueError, match=r"Received: \[-3, 7\]"):
        MeanIoU(CLASSES).update_state(labels, LOGITS)
    with pytest.raises(ValueError, match=r"ignore_label=None. Received: \[-1\]"):
        MeanIoU(CLASSES, ignore_label=None).update_state(LABELS, LOGITS)


def test_label_outside_the_classes_shows_in_a_compiled_step() -> None:
    labels = LABELS.astype("int32")
    labels[0, 0, 0] = CLASSES
    image = keras.Input((4, 6, CLASSES))
    model = keras.Model(image, keras.layers.Identity()(image))
    model.compile(loss=_no_loss, metrics=[MeanIoU(CLASSES)])
    if keras.backend.backend() == "torch":  # whose steps are not compiled
        with pytest.raises(ValueError, match=r"Received: \[5\]"):
            model.evaluate(LOGITS, labels, 1, verbose=0)
    else:
        logs = model.evaluate(LOGITS, labels, 1, verbose=0, return_dict=True)
        assert np.isnan(logs["mean_iou"])


@pytest.mark.parametrize("number", [2.0, True, "13"])
def test_number_that_is_no_integer_is_refused(number: object) -> None:
    with pytest.raises(TypeError, match="num_classes="):
        MeanIoU(number)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ignore_label="):
        MeanIoU(3, ignore_label=number)  # type: ignore[arg-type]


def test_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="num_classes=0"):
        MeanIoU(0)
