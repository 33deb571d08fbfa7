"""`RetinaNetHead` against NumPy and against KerasHub's detector, and as a head of X-Learner."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import RetinaNetHead
from keras_univrep.models import XLearnerExpansion
from tests.harness import HOW_TO_INSTALL_KERAS_HUB, check_config, randomize
from tests.oracles import convolution

RNG = np.random.default_rng(0)
CLASSES = 3
# Sides that do not divide by two.
SHAPES = {"fine": (2, 5, 6, 3), "coarse": (2, 3, 3, 4)}
MAPS = {name: RNG.normal(size=shape).astype("float32") for name, shape in SHAPES.items()}


def make(**kwargs: Any) -> RetinaNetHead:
    arguments: dict[str, Any] = {
        "num_classes": CLASSES,
        "levels": {"coarse": 8, "fine": 4},
        "extra_levels": 2,
        "filters": 4,
        "tower_depth": 1,
        "anchor_scales": 1,
        "anchor_ratios": (1.0, 2.0),
        "name": "head",
    }
    return RetinaNetHead(**{**arguments, **kwargs})


def array(x: Any) -> np.ndarray:
    return ops.convert_to_numpy(x)


def network(head: RetinaNetHead) -> keras.Model:
    """The head as a model, which compiles as one piece."""
    inputs = {n: keras.Input((None, None, shape[-1]), name=n) for n, shape in SHAPES.items()}
    return keras.Model(inputs, head(inputs))


def outputs_of(head: RetinaNetHead, maps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the head should answer, in float64."""

    def convolved(layer: Any, x: np.ndarray, stride: int = 1) -> np.ndarray:
        kernel = array(layer.kernel).astype("float64")
        y = convolution(x, kernel, stride, padding=kernel.shape[0] // 2)
        return y + array(layer.bias)

    x = [maps[name].astype("float64") for name in ("fine", "coarse")]
    merged = [convolved(layer, y) for layer, y in zip(head.lateral, x)]
    rows, columns = merged[0].shape[1:3]
    merged[0] += merged[1].repeat(2, 1).repeat(2, 2)[:, :rows, :columns]
    pyramid = [convolved(layer, y) for layer, y in zip(head.smooth, merged)]
    pyramid.append(convolved(head.coarser[0], x[1], 2))
    pyramid.append(convolved(head.coarser[1], np.maximum(pyramid[-1], 0), 2))
    found: dict[str, list[np.ndarray]] = {"boxes": [], "classes": []}
    for y in pyramid:
        for name, tower, last, size in (
            ("boxes", head.box_tower, head.box_projection, 4),
            ("classes", head.class_tower, head.class_projection, CLASSES),
        ):
            z = convolved(last, np.maximum(convolved(tower[0], y), 0))
            found[name].append(z.reshape(len(z), -1, size))
    return {name: np.concatenate(values, axis=1) for name, values in found.items()}


def test_outputs_are_those_of_the_formula_and_fit_the_anchors() -> None:
    head = make()
    model = network(head)
    randomize(head)
    right = outputs_of(head, MAPS)
    found = model.predict_on_batch(MAPS)
    symbolic = head({name: keras.KerasTensor(shape) for name, shape in SHAPES.items()})
    for name, values in right.items():
        np.testing.assert_allclose(array(found[name]), values, rtol=1e-4, atol=1e-4)
        assert tuple(symbolic[name].shape) == values.shape
    assert head.strides == (4, 8, 16, 32)
    anchors = head.anchors((20, 24))
    assert len(anchors) == right["boxes"].shape[1]
    np.testing.assert_array_equal(head.detection_loss((20, 24)).anchors, anchors)
    objects = head.predict_boxes(found, (20, 24), max_detections=3)
    assert tuple(objects["boxes"].shape) == (2, 3, 4)


def test_each_class_starts_at_its_prior_and_boxes_at_their_anchors() -> None:
    model = network(make(prior=0.02))
    outputs = model.predict_on_batch({n: np.zeros(shape) for n, shape in SHAPES.items()})
    np.testing.assert_allclose(1 / (1 + np.exp(-array(outputs["classes"]))), 0.02, rtol=1e-4)
    np.testing.assert_array_equal(array(outputs["boxes"]), 0.0)


def test_model_with_open_sides_is_the_same_after_saving(tmp_path: pathlib.Path) -> None:
    head = make(groups=2, kernel_initializer="he_normal")
    check_config(head)
    model = network(head)
    assert {y.shape for y in model.outputs} == {(None, None, 4), (None, None, CLASSES)}
    randomize(head)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    before, after = model.predict_on_batch(MAPS), loaded.predict_on_batch(MAPS)
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_outputs_are_float32_in_half_precision() -> None:
    outputs = network(make(dtype="mixed_bfloat16", extra_levels=0)).predict_on_batch(MAPS)
    assert {str(y.dtype) for y in outputs.values()} == {"float32"}


def test_x_learner_trains_it_beside_a_classifier() -> None:
    def backbone() -> keras.Model:
        images = x = keras.Input((16, 16, 3))
        for name in ("fine", "coarse"):
            x = keras.layers.Conv2D(4, 3, strides=4 if name == "fine" else 2, padding="same")(x)
            x = keras.layers.ReLU(name=name)(x)
        return keras.Model(images, x)

    head = make(extra_levels=0, anchor_size=1.0, kernel_initializer="he_normal")
    classifier = keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    model = XLearnerExpansion(
        {"objects": backbone(), "classes": backbone()},
        {"objects": {"streets": head}, "classes": {"birds": classifier}},
        levels=["fine", "coarse"],
        pyramid=["objects"],
    )
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(0.02),
        {"objects": head.detection_loss((16, 16), match_best=True), "classes": cross_entropy},
    )
    x = RNG.normal(size=(2, 16, 16, 3)).astype("float32")
    boxes = np.array([[[2, 2, 9, 10], [0, 0, 0, 0]], [[6, 4, 15, 12], [1, 1, 5, 6]]], "float32")
    targets = {"boxes": boxes, "labels": np.array([[0, -1], [1, 2]], "int32")}
    x_batch = {"objects": {"streets": x}, "classes": {"birds": x}}
    y_batch = {"objects": {"streets": targets}, "classes": {"birds": np.array([0, 1])}}
    losses = [
        float(model.train_on_batch(x_batch, y_batch, return_dict=True)["objects_streets_loss"])
        for _ in range(6)
    ]
    assert np.all(np.isfinite(losses)) and losses[-1] < 0.8 * losses[0]
    detector = model.for_source("objects", "streets")
    assert tuple(detector(x)["boxes"].shape) == (2, len(head.anchors((16, 16))), 4)


def test_outputs_loss_and_anchors_are_those_of_keras_hub() -> None:
    keras_hub = pytest.importorskip("keras_hub", reason=HOW_TO_INSTALL_KERAS_HUB)
    from keras_hub.src.models.retinanet.retinanet_backbone import RetinaNetBackbone

    images = x = keras.Input((32, 32, 3))
    outputs = {}
    for level, strides in ((3, 8), (4, 2), (5, 2)):
        x = keras.layers.Conv2D(3, 3, strides=strides, padding="same", activation="relu")(x)
        outputs[f"P{level}"] = x
    encoder = keras.Model(images, outputs)
    encoder.pyramid_outputs = outputs
    theirs = keras_hub.models.RetinaNetObjectDetector(
        # The maps that strided convolutions take are of one pixel: Keras pads both sides.
        RetinaNetBackbone(encoder, 3, 7, use_p5=True, image_shape=(32, 32, 3)),
        num_classes=CLASSES,
        bounding_box_format="xyxy",
        pre_logits_num_conv_layers=1,
    )
    head = RetinaNetHead(CLASSES, {"P3": 8, "P4": 16, "P5": 32}, tower_depth=1)
    x = RNG.uniform(size=(1, 32, 32, 3)).astype("float32")
    own_model = keras.Model(images, head(outputs))
    pyramid = theirs.backbone.feature_pyramid
    pairs = [*zip(head.lateral, pyramid.lateral_conv_layers.values())]
    pairs += [*zip((*head.smooth, *head.coarser), pyramid.output_conv_layers.values())]
    pairs += [*zip((*head.box_tower, head.box_projection), _layers(theirs.box_head))]
    towers = (*head.class_tower, head.class_projection)
    pairs += [*zip(towers, _layers(theirs.classification_head))]
    assert len(pairs) == 3 + 5 + 2 + 2
    for number, (own, other) in enumerate(pairs):
        rng = np.random.default_rng(number)
        other.set_weights([rng.normal(scale=0.03, size=w.shape) for w in other.get_weights()])
        own.set_weights(other.get_weights())
    found = own_model.predict_on_batch(x)
    # Not its own step, which decodes.
    right = keras.Model(theirs.inputs, theirs.outputs).predict_on_batch(x)
    right = dict(zip(("bbox_regression", "cls_logits"), right))
    np.testing.assert_allclose(
        array(found["boxes"]), array(right["bbox_regression"]), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        array(found["classes"]), array(right["cls_logits"]), rtol=1e-3, atol=1e-4
    )
    anchors = np.concatenate([array(a) for a in theirs.anchor_generator(x).values()])
    np.testing.assert_array_equal(head.anchors((32, 32)), anchors)
    boxes = np.array([[[0, 0, 28, 30], [6, 10, 30, 32]]], "float32")
    targets = {"boxes": boxes, "labels": np.array([[2, 0]])}
    theirs.compile("sgd")
    loss = float(theirs.compute_loss(x, targets, right, None))
    # It takes means over classes and over the entries of a box.
    parts = head.detection_loss((32, 32), alpha=None).parts(targets, found)
    own = float(parts["classes"][0]) / CLASSES + float(parts["boxes"][0]) / 4
    assert float(parts["boxes"][0]) > 0 and own == pytest.approx(loss, rel=1e-3)


def _layers(head: Any) -> list[keras.layers.Layer]:
    return [*head.conv_layers, head.prediction_layer]


@pytest.mark.parametrize(
    "arguments",
    [
        {"levels": {}},
        {"levels": {"fine": 4, "coarse": 16}},
        {"num_classes": 0},
        {"groups": 3},
        {"prior": 1.0},
        {"extra_levels": -1},
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Received: "):
        make(**arguments)


def test_missing_level_is_named() -> None:
    with pytest.raises(ValueError, match=r"\['fine', 'coarse'\]. Received: \['coarse'\]"):
        make()({"coarse": MAPS["coarse"]})
