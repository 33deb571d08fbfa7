"""A `Source` holds what its kind says, and refuses the rest by name."""

from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.datasets import Source
from tests.datasets.source_sets import toy_boxes, toy_classes

IMAGES = np.zeros((2, 8, 8, 3), "uint8")
LABELS = np.array([0, 1], "int32")
BOXES = np.tile(np.array([[0, 0, 4, 8]], "float32"), (2, 1, 1))
TARGETS = {"boxes": BOXES, "labels": np.array([[1], [-1]], "int32")}


def make(kind: str = "detection", targets: Any = None, **changes: Any) -> Source:
    fields: dict[str, Any] = {
        "name": "toy",
        "kind": kind,
        "class_names": () if kind == "depth" else ("a", "b"),
        "image_shape": (8, 8, 3),
        "splits": {"train": (IMAGES, TARGETS if targets is None else targets)},
        "max_boxes": 1 if kind == "detection" else 0,
    }
    return Source(**(fields | changes))


def test_each_kind_has_its_targets() -> None:
    assert make().channels == 2
    assert make("classification", LABELS).size("train") == 2
    assert make("segmentation", np.full((2, 8, 8), -1, "int8")).channels == 2
    assert make("depth", np.zeros((2, 8, 8, 1), "float32")).channels == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "a/b"}, "no '/'"),
        ({"kind": "pose"}, "`kind` of source 'toy' must be one of"),
        ({"class_names": ()}, "`class_names` of source 'toy'"),
        ({"image_shape": (0, 8, 3)}, r"sides of at least 1.*Received: \(0, 8, 3\)"),
        ({"image_shape": (8, 8, 4)}, "1 or 3 channels"),
        ({"max_boxes": 0}, "`max_boxes` of source 'toy' must be at least 1"),
        ({"image_shape": (8, 8, 1)}, "Images of split 'train' of source 'toy' must have shape"),
    ],
)
def test_wrong_fields_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


def with_box(box: list[float], label: int = 0) -> dict[str, np.ndarray]:
    boxes, labels = BOXES.copy(), TARGETS["labels"].copy()
    boxes[1, 0], labels[1, 0] = box, label
    return {"boxes": boxes, "labels": labels}


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (with_box([0, 0, 9, 4]), r"within the image.*\[0.0, 0.0, 9.0, 4.0\] in image 1"),
        (with_box([4, 0, 4, 4]), "with an area"),
        (with_box([np.nan, 0, 4, 4]), "within the image"),
        (with_box([0, 0, 4, 4], 2), r"in \[0, 2\), or -1"),
        (TARGETS | {"boxes": BOXES[:1]}, "must have the shapes"),
    ],
)
def test_wrong_boxes_are_refused(targets: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=f"split 'train' of source 'toy'.*{message}"):
        make("detection", targets)


def test_wrong_types_and_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels from 0 to 1"):
        make("classification", LABELS, class_names=("a",))
    with pytest.raises(TypeError, match="Labels of .* must be int32"):
        make("classification", LABELS.astype("int64"))
    with pytest.raises(ValueError, match=r"in \[0, 2\), or -1.*Received: 7 in image 0"):
        make("segmentation", np.full((2, 8, 8), 7, "int8"))
    with pytest.raises(TypeError, match="must be one array. Received: dict"):
        make("classification", TARGETS)
    with pytest.raises(TypeError, match="must be uint8"):
        make("classification", LABELS, splits={"train": (IMAGES / 255, LABELS)})
    with pytest.raises(TypeError, match="Boxes of .* must be float32"):
        make("detection", TARGETS | {"boxes": BOXES.astype("float64")})


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a split of source 'classes': \['test', 'train'\]"):
        toy_classes().arrays("validation")


def test_keras_takes_the_boxes_as_they_are() -> None:
    images, targets = toy_boxes().arrays("train")
    real = targets["labels"] >= 0
    iou = keras.utils.bounding_boxes.compute_iou(targets["boxes"], targets["boxes"], "xyxy")
    found = keras.ops.convert_to_numpy(iou)[:, np.arange(2), np.arange(2)]
    np.testing.assert_allclose(found[real], 1, atol=1e-6)
    layer = keras.layers.RandomFlip("horizontal", bounding_box_format="xyxy", seed=0)
    batch = {"images": images.astype("float32"), "bounding_boxes": dict(targets)}
    flipped = layer(batch, training=True)
    pixels, boxes = (
        keras.ops.convert_to_numpy(x)
        for x in (flipped["images"], flipped["bounding_boxes"]["boxes"])
    )
    mirrored = 0
    for row in range(len(images)):
        turned = not np.array_equal(pixels[row], images[row])
        mirrored += turned
        expected = targets["boxes"][row]
        if turned:
            expected = np.abs(expected[:, [2, 1, 0, 3]] - [16, 0, 16, 0])
        np.testing.assert_allclose(boxes[row][real[row]], expected[real[row]], atol=1e-5)
    assert 0 < mirrored < len(images)
