"""Average precision of boxes against numbers worked out by hand."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from keras_univrep.metrics import BoxAveragePrecision

# Class 0 has three objects in two images, class 1 one, class 2 none.
TRUTH = {
    "boxes": np.array(
        [
            [[0, 0, 10, 10], [20, 20, 30, 30], [40, 0, 60, 20]],
            [[5, 5, 15, 15], [0, 0, 0, 0], [0, 0, 0, 0]],
        ]
    ),
    "labels": np.array([[0, 0, 1], [0, -1, -1]]),
}
# In descending order, of class 0: right (IoU 1), wrong, right (IoU 1); the object at (20, 20) is
# not found. Of class 1: right, with the IoU 18 / 20 = 0.9. Of class 2: wrong, and does not count.
FOUND = {
    "boxes": np.array(
        [
            [[0, 0, 10, 10], [60, 60, 70, 70], [40, 0, 58, 20], [0, 0, 5, 5]],
            [[5, 5, 15, 15], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        ]
    ),
    "labels": np.array([[0, 0, 1, 2], [0, -1, -1, -1]]),
    "scores": np.array([[0.9, 0.8, 0.7, 0.6], [0.5, 0.0, 0.0, 0.0]]),
}


def measured(truth: Any, found: Any, one_by_one: bool = False, **kwargs: Any) -> dict[str, float]:
    metric = BoxAveragePrecision(**kwargs)
    for rows in [slice(i, i + 1) for i in range(2)] if one_by_one else [slice(None)]:
        metric.update_state(
            {name: value[rows] for name, value in truth.items()},
            {name: value[rows] for name, value in found.items()},
        )
    return metric.result()


@pytest.mark.parametrize("one_by_one", [False, True])
def test_numbers_are_those_worked_out_by_hand(one_by_one: bool, capsys: Any) -> None:
    pytest.importorskip("pycocotools")
    result = measured(TRUTH, FOUND, one_by_one)
    # Recall 1/3 at precision 1, 2/3 at 2/3.
    assert result["voc_ap50"] == pytest.approx((1 / 3 * 1 + 1 / 3 * 2 / 3 + 1.0) / 2)
    # Of the recalls 0, 0.01 .. 1, 34 are within 1/3 and 33 more within 2/3.
    of_0 = (34 * 1 + 33 * 2 / 3) / 101
    assert result["ap50"] == pytest.approx((of_0 + 1.0) / 2)
    # Class 1 up to an IoU of 0.9: nine of ten.
    assert result["map"] == pytest.approx((of_0 + 0.9) / 2)
    assert capsys.readouterr().out == ""


def test_eleven_points_are_those_of_2007() -> None:
    pytest.importorskip("pycocotools")
    result = measured(TRUTH, FOUND, eleven_points=True)
    # Recalls 0 .. 0.3 at precision 1, 0.4 .. 0.6 at 2/3.
    assert result["voc_ap50"] == pytest.approx(((4 * 1 + 3 * 2 / 3) / 11 + 1.0) / 2)


def test_second_detection_of_one_object_is_wrong() -> None:
    truth = {"boxes": np.array([[[0, 0, 10, 10]]]), "labels": np.array([[0]])}
    twice = {
        "boxes": np.array([[[0, 0, 10, 9], [0, 0, 10, 10]]]),
        "labels": np.array([[0, 0]]),
        "scores": np.array([[0.6, 0.5]]),
    }
    metric = BoxAveragePrecision()
    metric.update_state(truth, twice)
    assert metric.voc_ap50() == {0: 1.0}
    twice["boxes"] = twice["boxes"][:, ::-1] * [[[1], [0.4]]]  # Now the first is right.
    metric.reset_state()
    metric.update_state(truth, twice)
    assert metric.voc_ap50() == {0: 1.0}
    twice["scores"] = twice["scores"][:, ::-1]
    metric.reset_state()
    metric.update_state(truth, twice)
    assert metric.voc_ap50() == {0: 0.5}


def test_nothing_found_is_zero_and_nothing_there_is_no_number() -> None:
    pytest.importorskip("pycocotools")
    nothing = {**FOUND, "labels": np.full((2, 4), -1)}
    assert measured(TRUTH, nothing) == {"map": 0.0, "ap50": 0.0, "voc_ap50": 0.0}
    empty = {**TRUTH, "labels": np.full((2, 3), -1)}
    assert all(np.isnan(value) for value in measured(empty, FOUND).values())


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    metric = BoxAveragePrecision()
    metric.update_state(TRUTH, FOUND)
    with pytest.raises(ImportError, match=r"keras_univrep\[detection\]"):
        metric.result()


@pytest.mark.parametrize(
    ("truth", "found", "message"),
    [
        (TRUTH, {**FOUND, "scores": FOUND["scores"][:, :2]}, "'scores': "),
        (TRUTH, {"boxes": FOUND["boxes"], "labels": FOUND["labels"]}, "Received: "),
        ({name: value[:1] for name, value in TRUTH.items()}, FOUND, "1 and 2 images"),
    ],
)
def test_what_does_not_belong_together_is_refused(truth: Any, found: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BoxAveragePrecision().update_state(truth, found)
