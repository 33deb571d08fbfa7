"""Labels of a teacher, without those that it is not sure of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from keras_univrep.models import pseudo_label


def test_classes_and_pixels_below_the_threshold_are_ignored() -> None:
    # Probabilities 0.9 and 0.6 of the larger one.
    logits = np.log([[0.1, 0.9], [0.6, 0.4]])
    assert pseudo_label(logits, "classes", 0.5).tolist() == [1, 0]
    assert pseudo_label(logits + 50.0, "classes", 0.7).tolist() == [1, -1]
    maps = logits.reshape(1, 1, 2, 2)
    found = pseudo_label(maps, "segmentation", 0.7, ignore_label=255)
    assert found.tolist() == [[[1, 255]]] and found.dtype == np.int32


def test_boxes_of_a_low_score_and_places_without_one_are_left_out() -> None:
    boxes = np.arange(12.0).reshape(1, 3, 4)
    objects = {
        "boxes": boxes,
        "labels": np.array([[2, 1, -1]]),
        "scores": np.array([[0.8, 0.4, 0.9]]),
    }
    found = pseudo_label(objects, "boxes", 0.5)
    assert found["labels"].tolist() == [[2, -1, -1]]
    assert found["boxes"].tolist() == [[boxes[0, 0].tolist(), [0.0] * 4, [0.0] * 4]]


def test_depths_that_are_none_become_unknown() -> None:
    depths = np.array([1.5, -1.0, np.nan, np.inf]).reshape(1, 2, 2, 1)
    assert pseudo_label(depths, "depth").ravel().tolist() == [1.5, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("predictions", "kind"),
    [
        (np.zeros((2, 3)), "normals"),
        (np.zeros((2, 3)), "segmentation"),
        (np.zeros((2, 3, 3, 2)), "depth"),
        (np.zeros((2, 3)), "boxes"),
        ({"boxes": np.zeros((1, 2, 4)), "classes": np.zeros((1, 2, 3))}, "boxes"),
    ],
)
def test_predictions_of_another_kind_are_refused(predictions: Any, kind: str) -> None:
    with pytest.raises(ValueError, match="Received: "):
        pseudo_label(predictions, kind)
