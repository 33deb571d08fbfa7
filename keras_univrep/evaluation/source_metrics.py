"""What a network of several tasks and sources is worth on each source."""

from collections.abc import Mapping
from typing import Any, Protocol

import keras
import numpy as np

from keras_univrep import datasets, metrics
from keras_univrep.datasets import Source

# What is measured of each kind of source, and whether less is better.
SOURCE_METRICS = {
    "classification": ("accuracy", False),
    "detection": ("AP50", False),
    "segmentation": ("mIoU", False),
    "depth": ("abs. error", True),
}


class _Learner(Protocol):
    def for_source(self, task: str, source: str) -> keras.Model: ...

    def head(self, task: str, source: str) -> Any: ...


def source_metrics(
    model: _Learner,
    sources: Mapping[str, Mapping[str, Source]],
    split: str,
    batch_size: int = 32,
) -> dict[str, dict[str, float]]:
    """Measures a network on a whole split of each of its sources.

    | kind | metric | unit |
    |---|---|---|
    | "classification" | accuracy of the best class | per cent |
    | "detection" | average precision at an IoU of 0.5, mean over classes, as COCO | per cent |
    | "segmentation" | mean intersection over union of the classes | per cent |
    | "depth" | mean absolute error | that of the targets, metres |

    Args:
        model: A `models.XLearnerExpansion`, or an `XLearnerSqueeze` with the levels its heads take.
            Heads of detection have `predict_boxes`, as `backbones.RetinaNetHead`.
        sources: Some or all of its sources, `{task: {name: Source}}`.
        split: Name of a split of each.
        batch_size: Images at a time.

    Returns:
        `{task: {name: value}}`.

    Raises:
        ImportError: If pycocotools is not installed and there is a source of boxes.
        ValueError: If the model knows no such source.

    Example:
        >>> import keras
        >>> from keras_univrep.datasets import random_sources
        >>> from keras_univrep.evaluation import source_metrics
        >>> from keras_univrep.models import XLearnerExpansion
        >>> images = keras.Input((32, 32, 3))
        >>> trunk = keras.Model(images, keras.layers.Conv2D(2, 3, name="map")(images))
        >>> pool = keras.layers.GlobalAveragePooling2D()
        >>> head = keras.Sequential([pool, keras.layers.Dense(2)])
        >>> sources = {"classification": random_sources()["classification"]}
        >>> heads = {"classification": {name: head for name in sources["classification"]}}
        >>> model = XLearnerExpansion(trunk, heads, ["map"], reconciliation=None)
        >>> source_metrics(model, sources, "test").keys()
        dict_keys(['classification'])

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual representation.
          ECCV 2022.
    """
    return {
        task: {
            name: _measure(model, task, name, source, split, batch_size)
            for name, source in row.items()
        }
        for task, row in sources.items()
    }


def _measure(
    model: _Learner, task: str, name: str, source: Source, split: str, batch_size: int
) -> float:
    network = model.for_source(task, name)
    metric: Any = {
        "classification": keras.metrics.SparseCategoricalAccuracy,
        "detection": metrics.BoxAveragePrecision,
        "segmentation": lambda: metrics.MeanIoU(source.channels),
        "depth": metrics.DepthError,
    }[source.kind]()
    batches = datasets.SourceSequence({task: {name: source}}, split, batch_size)
    for index in range(len(batches)):
        images, targets = batches[index]
        answer = network.predict_on_batch(images[task][name])
        if source.kind == "detection":
            answer = model.head(task, name).predict_boxes(answer, source.image_shape[:2])
        metric.update_state(targets[task][name], answer)
    result = metric.result()
    value = float(result["ap50"] if isinstance(result, Mapping) else np.asarray(result))
    return value if source.kind == "depth" else 100.0 * value
