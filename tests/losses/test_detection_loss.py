"""The loss of a detector against NumPy, and what anchors are told to answer."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.losses import DetectionLoss, anchor_boxes

OPTIONS: dict[str, Any] = {
    "image_shape": (32, 32),
    "strides": (8, 16),
    "anchor_size": 1.0,
    "anchor_scales": 2,
    "anchor_ratios": (1.0, 2.0),
}
ANCHORS = anchor_boxes(**OPTIONS).astype("float64")
CLASSES = 3
# Two objects and a padded place; one object that few anchors meet; none.
BOXES = np.array(
    [
        [[3.0, 3.0, 14.0, 12.0], [-1.0, -1.0, -1.0, -1.0], [10.0, 8.0, 24.0, 28.0]],
        [[0.0, 0.0, 5.0, 4.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]],
        [[0.0, 0.0, 0.0, 0.0]] * 3,
    ]
)
LABELS = np.array([[2, -1, 0], [1, -1, -1], [-1, -1, -1]])
TARGET = {"boxes": BOXES, "labels": LABELS}
RNG = np.random.default_rng(0)
PREDICTION = {
    "boxes": RNG.normal(size=(3, len(ANCHORS), 4)),
    "classes": 3.0 * RNG.normal(size=(3, len(ANCHORS), CLASSES)),
}


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0.0) * max(height, 0.0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def centred(box: np.ndarray) -> np.ndarray:
    return np.array(
        [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]]
    )


def answers(
    boxes: np.ndarray, labels: np.ndarray, best: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Classes and differences of all anchors of an image, one after the other."""
    there = [g for g, label in enumerate(labels) if label >= 0]
    table = np.array([[overlap(a, boxes[g]) for g in there] for a in ANCHORS])
    found, right = np.full(len(ANCHORS), -1), np.zeros((len(ANCHORS), 4))
    for index, anchor in enumerate(ANCHORS if there else ()):
        row = table[index]
        own = best and any(v > 0 and v == table[:, g].max() for g, v in enumerate(row))
        if row.max() >= 0.5 or own:
            g = there[int(row.argmax())]
            found[index] = labels[g]
            a, b = centred(anchor), centred(boxes[g])
            right[index] = [*((b[:2] - a[:2]) / a[2:]), *np.log(b[2:] / a[2:])]
        elif row.max() >= 0.4:
            found[index] = -2
    return found, right


def expected(image: int, alpha: float | None = 0.25, gamma: float = 2.0, beta: float = 1.0) -> list:
    found, right = answers(BOXES[image], LABELS[image])
    entropy = distance = 0.0
    for index, label in enumerate(found):
        if label == -2:
            continue
        for c in range(CLASSES):
            p = 1.0 / (1.0 + np.exp(-PREDICTION["classes"][image, index, c]))
            p, share = (p, alpha) if c == label else (1.0 - p, 1.0 - (alpha or 0.0))
            entropy -= (1.0 if alpha is None else share) * (1.0 - p) ** gamma * np.log(p)
        if label >= 0:
            d = np.abs(PREDICTION["boxes"][image, index] - right[index])
            distance += np.where(d < beta, d**2 / (2 * beta), d - beta / 2).sum()
    count = max(1, int((found >= 0).sum()))
    return [entropy / count, distance / count]


@pytest.mark.parametrize("best", [False, True])
def test_anchors_are_told_what_they_overlap_with(best: bool) -> None:
    found, right = DetectionLoss(**OPTIONS, match_best=best).targets(TARGET)
    found, right = ops.convert_to_numpy(found), ops.convert_to_numpy(right)
    for image in range(3):
        classes, deltas = answers(BOXES[image], LABELS[image], best)
        np.testing.assert_array_equal(found[image], classes)
        np.testing.assert_allclose(right[image], deltas, rtol=1e-5, atol=1e-5)
    kinds = [set(row.tolist()) for row in found]
    assert {0, 2, -1, -2} <= kinds[0] and kinds[2] == {-1}
    # The small object has an anchor only if its best one counts.
    assert (1 in kinds[1]) == best


@pytest.mark.parametrize(
    "options", [{}, {"alpha": None, "gamma": 0.0, "beta": 0.5}], ids=["paper", "others"]
)
def test_value_is_that_of_the_formula(options: dict[str, Any]) -> None:
    loss = DetectionLoss(**OPTIONS, **options, box_weight=0.5, reduction=None)
    parts = np.array([expected(image, **options) for image in range(3)])
    assert parts[2, 1] == 0.0 and np.all(parts[:, 0] > 0)
    values = ops.convert_to_numpy(loss(TARGET, PREDICTION))
    np.testing.assert_allclose(values, parts @ [1.0, 0.5], rtol=1e-4)
    if not options:
        both = DetectionLoss(**OPTIONS).parts(TARGET, PREDICTION)
        np.testing.assert_allclose(ops.convert_to_numpy(both["boxes"]), parts[:, 1], rtol=1e-4)
        mean = DetectionLoss(**OPTIONS)(TARGET, PREDICTION, np.array([1.0, 0.0, 2.0]))
        assert float(mean) == pytest.approx((parts.sum(1) @ [1, 0, 2]) / 3, rel=1e-4)


def test_right_and_certain_has_no_loss_and_its_gradient_is_finite() -> None:
    loss = DetectionLoss(**OPTIONS)
    found, right = (ops.convert_to_numpy(v) for v in loss.targets(TARGET))
    logits = np.where(found[..., None] == np.arange(CLASSES), 100.0, -100.0)
    values = [ops.convert_to_tensor(v.astype("float32")) for v in (right, logits)]

    def value(values: list) -> tuple[Any, Any]:
        return loss(TARGET, {"boxes": values[0], "classes": values[1]}), ()

    (zero, _), grads = backend.value_and_grad(value, values)
    assert float(zero) == pytest.approx(0.0, abs=1e-6)
    for grad in grads:
        np.testing.assert_allclose(ops.convert_to_numpy(grad), 0.0, atol=1e-6)


def test_class_that_there_is_not_shows_as_nan() -> None:
    wrong = {"boxes": BOXES, "labels": np.where(LABELS == 2, CLASSES, LABELS)}
    values = ops.convert_to_numpy(DetectionLoss(**OPTIONS, reduction=None)(wrong, PREDICTION))
    np.testing.assert_array_equal(np.isnan(values), [True, False, False])


def plain_model() -> keras.Model:
    images = keras.Input((2,))
    count = len(ANCHORS)
    outputs = {
        name: keras.layers.Reshape((count, size))(keras.layers.Dense(count * size)(images))
        for name, size in (("boxes", 4), ("classes", CLASSES))
    }
    return keras.Model(images, outputs)


def test_model_trains_with_it_by_plain_compile() -> None:
    model = plain_model()
    model.compile(keras.optimizers.Adam(0.05), loss=[DetectionLoss(**OPTIONS, match_best=True)])
    targets = {"boxes": BOXES.astype("float32"), "classes": LABELS.astype("int32")}
    history = model.fit(np.eye(3, 2), targets, epochs=5, batch_size=3, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


@pytest.mark.parametrize("listed", [False, True])
def test_plain_compile_that_tears_targets_apart_is_explained(listed: bool) -> None:
    model, loss = plain_model(), DetectionLoss(**OPTIONS)
    model.compile("sgd", loss=[loss] if listed else loss)
    key = "labels" if listed else "classes"
    targets = {"boxes": BOXES.astype("float32"), key: LABELS.astype("int32")}
    with pytest.raises(ValueError, match="a list of one"):
        model.fit(np.eye(3, 2), targets, batch_size=3, verbose=0)


def test_configuration_holds_every_argument() -> None:
    loss = DetectionLoss(
        **OPTIONS, alpha=None, gamma=1.0, beta=0.1, box_weight=2.0, thresholds=(0.3, 0.6),
        match_best=True, dtype="float64",
    )  # fmt: skip
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.get_config() == loss.get_config()
    np.testing.assert_array_equal(copy.anchors, loss.anchors)


@pytest.mark.parametrize(
    "arguments",
    [{"alpha": 2.0}, {"gamma": -1.0}, {"beta": 0.0}, {"thresholds": (0.6, 0.5)}],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Received: "):
        DetectionLoss(**{**OPTIONS, **arguments})


@pytest.mark.parametrize(
    ("target", "prediction", "message"),
    [
        ({"boxes": BOXES}, PREDICTION, "Received: the keys"),
        ({"boxes": BOXES[0], "labels": LABELS}, PREDICTION, r"Received: \(3, 4\)"),
        (TARGET, {n: v[:, :5] for n, v in PREDICTION.items()}, "Received: boxes of shape"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    target: Any, prediction: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DetectionLoss(**OPTIONS)(target, prediction)
