"""Two tasks with three sources and small sub-backbones, all weights from NumPy."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from keras_univrep.layers import BatchNormalization
from keras_univrep.models import XLearnerExpansion
from tests.models.toys import draw_weights

LEVELS = ("level1", "level2")
SOURCES = {"classes": ("photos", "birds"), "parts": ("scenes",)}
CLASSES = {"photos": 3, "birds": 2}
SIZE = 8


def backbone(seed: int, filters: tuple[int, int] = (3, 4)) -> keras.Model:
    """Two levels of half the resolution each, with batch normalisation."""
    images = x = keras.Input((SIZE, SIZE, 2))
    for level, number in zip(LEVELS, filters, strict=True):
        x = keras.layers.Conv2D(number, 3, strides=2, padding="same", name=f"{level}_conv")(x)
        x = BatchNormalization(name=f"{level}_norm")(x)
        x = keras.layers.ReLU(name=level)(x)
    return draw_weights(keras.Model(images, x), seed)


def heads(seed: int = 50) -> dict[str, dict[str, Any]]:
    """A classifier of each source of the first task, and a map for the second."""
    found: dict[str, dict[str, Any]] = {
        "classes": {
            source: keras.Sequential(
                [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(count)]
            )
            for source, count in CLASSES.items()
        },
        "parts": {"scenes": keras.layers.Conv2D(2, 1, name="parts_head")},
    }
    for row in found.values():
        for head in row.values():
            head.build((None, 2, 2, 4))
            draw_weights(head, seed)
    return found


def expansion(seed: int = 0, **kwargs: Any) -> XLearnerExpansion:
    """Sub-backbones of both tasks."""
    backbones = {"classes": backbone(seed), "parts": backbone(seed + 1, (2, 4))}
    arguments = {"backbones": backbones, "heads": heads(), "levels": LEVELS, "tau": 2}
    model = XLearnerExpansion(**{**arguments, **kwargs})
    for number, layer in enumerate(model.reconciliation_layers):
        draw_weights(layer, 80 + number)
    if model.hints is not None:
        for number, layer in enumerate(model.hints.guidance_layers):
            draw_weights(layer, 120 + number)
    return model


def losses() -> dict[str, Any]:
    return {
        "classes": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "parts": "mean_squared_error",
    }


def batch(seed: int, count: int = 4) -> tuple[dict[str, Any], dict[str, Any]]:
    """Images and targets of every source."""
    rng = np.random.default_rng(seed)
    x = {
        task: {s: rng.normal(size=(count, SIZE, SIZE, 2)).astype("float32") for s in names}
        for task, names in SOURCES.items()
    }
    y = {
        "classes": {s: rng.integers(0, n, count) for s, n in CLASSES.items()},
        "parts": {"scenes": rng.normal(size=(count, 2, 2, 2)).astype("float32")},
    }
    return x, y


class Stream(keras.utils.PyDataset):
    """Batches in the same order, epoch after epoch."""

    def __init__(self, length: int, first: int = 0, labelled: bool = True) -> None:
        super().__init__()
        self.length, self.first, self.labelled = length, first, labelled

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        data = batch(self.first + index)
        return data if self.labelled else (data[0],)
