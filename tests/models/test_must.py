"""Multi-task self-training: who labels what, and a student of all labels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.backbones import RetinaNetHead
from keras_univrep.models import MuST, XLearnerExpansion

SIZE = 16
RNG = np.random.default_rng(0)
KINDS = {"classes": "classes", "objects": "boxes", "depth": "depth"}


def batch() -> tuple[dict[str, Any], dict[str, Any]]:
    def images(count: int) -> np.ndarray:
        return RNG.normal(size=(count, SIZE, SIZE, 3)).astype("float32")

    x = {
        "classes": {"birds": images(2), "cars": images(1)},
        "objects": {"streets": images(2)},
        "depth": {"rooms": images(1)},
    }
    box = np.array([[[1, 2, 9, 12]], [[3, 3, 14, 15]]], "float32")
    y = {
        "classes": {"birds": np.array([0, 2]), "cars": np.array([1])},
        "objects": {"streets": {"boxes": box, "labels": np.array([[1], [0]], "int32")}},
        "depth": {"rooms": np.full((1, SIZE, SIZE, 1), 2.0, "float32")},
    }
    return x, y


def teachers(seen: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    """Teachers that note the images which they label."""

    def classifier(name: str, classes: int) -> Any:
        def run(images: np.ndarray) -> np.ndarray:
            seen[name] = images
            # Sure of every other image.
            sure = np.arange(len(images))[:, None] % 2 == 0
            return np.where(sure, 9.0 * np.eye(classes)[[1] * len(images)], 0.0)

        return run

    def detector(images: np.ndarray) -> dict[str, np.ndarray]:
        seen["streets"] = images
        boxes = np.tile(np.array([2.0, 2.0, 10.0, 10.0], "float32"), (len(images), 3, 1))
        scores = np.tile(np.array([0.9, 0.6, 0.1], "float32"), (len(images), 1))
        return {"boxes": boxes, "labels": np.tile([0, 1, 1], (len(images), 1)), "scores": scores}

    inputs = keras.Input((SIZE, SIZE, 3))
    rooms = keras.Model(
        inputs,
        keras.layers.Conv2D(1, 1, kernel_initializer="zeros", bias_initializer="ones")(inputs),
    )
    return {
        "classes": {"birds": classifier("birds", 3), "cars": classifier("cars", 2)},
        "objects": {"streets": detector},
        "depth": {"rooms": rooms},
    }


def test_every_source_gets_all_images_with_true_labels_where_there_are_any() -> None:
    seen: dict[str, np.ndarray] = {}
    x, y = batch()
    new_x, new_y = MuST(teachers(seen), KINDS, {"objects": 0.5, "classes": 0.9})(x, y)
    every = {source: images for row in x.values() for source, images in row.items()}
    for row in new_x.values():
        for source, images in row.items():
            others = np.concatenate([v for name, v in every.items() if name != source])
            np.testing.assert_array_equal(images, np.concatenate([every[source], others]))
            if source in seen:
                np.testing.assert_array_equal(seen[source], others)
    assert new_y["classes"]["birds"].tolist() == [0, 2, 1, -1, 1, -1]
    assert new_y["classes"]["cars"].tolist() == [1, 1, -1, 1, -1, 1]
    objects = new_y["objects"]["streets"]
    assert objects["labels"].tolist() == [[1, -1, -1], [0, -1, -1]] + [[0, 1, -1]] * 4
    np.testing.assert_array_equal(objects["boxes"][:2, :1], y["objects"]["streets"]["boxes"])
    assert objects["boxes"][2].tolist() == [[2, 2, 10, 10], [2, 2, 10, 10], [0, 0, 0, 0]]
    depths = new_y["depth"]["rooms"]
    assert depths.shape == (6, SIZE, SIZE, 1)
    assert np.all(depths[:1] == 2.0) and np.all(depths[1:] == 1.0)


def test_student_of_one_backbone_learns_from_all_labels() -> None:
    x, y = MuST(teachers({}), KINDS)(*batch())
    images = keras.Input((SIZE, SIZE, 3))
    maps = keras.layers.Conv2D(8, 3, 4, padding="same", activation="relu", name="fine")(images)
    backbone = keras.Model(
        images, keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="coarse")(maps)
    )
    detector = RetinaNetHead(
        2, {"fine": 4, "coarse": 8}, 0, filters=4, tower_depth=0, anchor_size=1.0, anchor_scales=1
    )

    def pooled(classes: int) -> keras.Sequential:
        return keras.Sequential(
            [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(classes)]
        )

    student = XLearnerExpansion(
        backbone,
        {
            "classes": {"birds": pooled(3), "cars": pooled(2)},
            "objects": {"streets": detector},
            "depth": {"rooms": keras.Sequential(
                [keras.layers.UpSampling2D(8), keras.layers.Conv2D(1, 1)]
            )},
        },
        levels=["fine", "coarse"],
        reconciliation=None,
        pyramid=["objects"],
    )  # fmt: skip
    student.compile(
        keras.optimizers.Adam(0.02),
        {
            "classes": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=-1
            ),
            "objects": detector.detection_loss((SIZE, SIZE), match_best=True),
            "depth": "mean_absolute_error",
        },
    )
    logs = [student.train_on_batch(x, y, return_dict=True) for _ in range(8)]
    for name in ("classes_birds", "classes_cars", "objects_streets", "depth_rooms"):
        first, last = (float(log[f"{name}_loss"]) for log in (logs[0], logs[-1]))
        assert np.isfinite(last) and last < first


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(ValueError, match="Received: kinds={'classes': 'normals'"):
        MuST(teachers({}), {**KINDS, "classes": "normals"})
    with pytest.raises(ValueError, match="`thresholds` no others"):
        MuST(teachers({}), KINDS, {"parts": 0.5})
    x, y = batch()
    must = MuST(teachers({}), KINDS)
    with pytest.raises(ValueError, match="`x` must hold a batch of each source"):
        must({"classes": x["classes"]}, y)
    x["depth"]["rooms"] = x["depth"]["rooms"][:, :8]
    with pytest.raises(ValueError, match=r"'depth/rooms': \(8, 16, 3\)"):
        must(x, y)
