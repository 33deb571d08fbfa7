"""Objects of a detector against the suppression of one box after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import decode_boxes

RNG = np.random.default_rng(0)
SIZE, COUNT, CLASSES = 32, 40, 2
CORNERS = RNG.uniform(0, 24, (COUNT, 2))
ANCHORS = np.concatenate([CORNERS, CORNERS + RNG.uniform(4, 16, (COUNT, 2))], 1).astype("float32")
OUTPUTS = {
    "boxes": 0.1 * RNG.normal(size=(2, COUNT, 4)),
    "classes": 2.0 * RNG.normal(size=(2, COUNT, CLASSES)),
}


def iou(a: np.ndarray, b: np.ndarray) -> float:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = max(width, 0.0) * max(height, 0.0)
    return both / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - both)


def objects(image: int, score: float, limit: float) -> list[tuple[float, int, np.ndarray]]:
    """All objects, best first, by the greedy rule."""
    entries = []
    for index, anchor in enumerate(ANCHORS.astype("float64")):
        side = anchor[2:] - anchor[:2]
        d = OUTPUTS["boxes"][image, index]
        centre, size = (anchor[:2] + anchor[2:]) / 2 + d[:2] * side, np.exp(d[2:]) * side
        box = np.clip(np.concatenate([centre - size / 2, centre + size / 2]), 0, SIZE)
        for c in range(CLASSES):
            p = 1 / (1 + np.exp(-OUTPUTS["classes"][image, index, c]))
            entries.append((p, c, box))
    kept: list[tuple[float, int, np.ndarray]] = []
    for p, c, box in sorted(entries, key=lambda entry: -entry[0]):
        if p >= score and all(k != c or iou(box, other) <= limit for _, k, other in kept):
            kept.append((p, c, box))
    return kept


@pytest.mark.parametrize(("score", "limit", "places"), [(0.3, 0.5, 60), (0.05, 0.2, 100)])
def test_objects_are_those_of_the_greedy_rule(score: float, limit: float, places: int) -> None:
    found = decode_boxes(OUTPUTS, ANCHORS, (SIZE, SIZE), score, limit, max_detections=places)
    found = {name: ops.convert_to_numpy(value) for name, value in found.items()}
    assert {name: value.shape for name, value in found.items()} == {
        "boxes": (2, places, 4),
        "labels": (2, places),
        "scores": (2, places),
    }
    for image in range(2):
        right = objects(image, score, limit)[:places]
        number = len(right)
        assert 10 < number < COUNT * CLASSES
        np.testing.assert_allclose(
            found["scores"][image, :number], [p for p, _, _ in right], rtol=1e-5
        )
        assert found["labels"][image, :number].tolist() == [c for _, c, _ in right]
        np.testing.assert_allclose(
            found["boxes"][image, :number], [box for _, _, box in right], atol=1e-3
        )
        assert np.all(found["labels"][image, number:] == -1)
        assert not found["scores"][image, number:].any()
        assert not found["boxes"][image, number:].any()


def test_only_the_best_places_and_candidates_are_taken() -> None:
    right = objects(0, 0.05, 0.5)[:3]
    found = decode_boxes(OUTPUTS, ANCHORS, (SIZE, SIZE), max_detections=3, max_candidates=30)
    np.testing.assert_allclose(
        ops.convert_to_numpy(found["scores"])[0], [p for p, _, _ in right], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("anchors", "arguments"),
    [
        (ANCHORS[:3], {}),
        (ANCHORS, {"iou_threshold": 1.5}),
        (ANCHORS, {"max_detections": 0}),
    ],
)
def test_what_is_out_of_range_is_refused(anchors: np.ndarray, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Received: "):
        decode_boxes(OUTPUTS, anchors, (SIZE, SIZE), **arguments)
