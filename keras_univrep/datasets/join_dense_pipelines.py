"""Joins pipelines of dense domains into one of all domains and all their tasks."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.types import Tensor

if TYPE_CHECKING:
    import tensorflow as tf


def join_dense_pipelines(pipelines: Mapping[str, "tf.data.Dataset"]) -> "tf.data.Dataset":
    """Joins one pipeline for each dense domain into batches that hold all domains.

    Targets go by "<domain>_<task>", as two domains may have tasks of one name with other classes.
    A domain's batches do not depend on which others are there, and the joint pipeline is at step k
    if all of them are: make each with `first_step=k` to resume there. The shortest pipeline ends
    the joint one, so give it endless ones: those for training.

    Args:
        pipelines: Dict of domain to a dataset of (images, {task: maps}), as `dense_pipeline` makes.
            Sizes of batches may differ.

    Returns:
        Dataset of ({domain: images}, {"<domain>_<task>": maps}), what
        `backbones.MultiDomainNetwork` takes and is compared with.

    Raises:
        ValueError: If there is no pipeline, or two targets would go by one name.
        ImportError: If TensorFlow is not installed.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import DenseDomain, dense_pipeline, join_dense_pipelines
    >>> arrays = np.zeros((5, 8, 8, 3), "uint8"), {"depth": np.ones((5, 8, 8, 1), "float32")}
    >>> toy = DenseDomain("toy", {"depth": "depth"}, {}, (8, 8, 3), {"train": arrays})
    >>> sizes = {"room": 2, "street": 3}
    >>> parts = {name: dense_pipeline(toy, "train", size, True) for name, size in sizes.items()}
    >>> images, targets = next(iter(join_dense_pipelines(parts)))
    >>> {name: tuple(maps.shape) for name, maps in targets.items()}
    {'room_depth': (2, 8, 8, 1), 'street_depth': (3, 8, 8, 1)}
    """
    if not pipelines:
        raise ValueError(
            "`pipelines` must hold at least one dataset. Received: an empty mapping. Pass "
            "`{name: dense_pipeline(...)}`."
        )
    names = [
        f"{domain}_{task}"
        for domain, dataset in pipelines.items()
        for task in dataset.element_spec[1]
    ]
    if len(set(names)) < len(names):
        raise ValueError(
            "Targets of two domains must not go by one name, '<domain>_<task>'. Received: "
            f"{sorted(names)}. Rename a domain."
        )
    tf = load_tensorflow()

    def regroup(
        batch: dict[str, tuple[Tensor, dict[str, Tensor]]],
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        images = {domain: batch[domain][0] for domain in pipelines}
        targets = {
            f"{domain}_{task}": maps
            for domain in pipelines
            for task, maps in batch[domain][1].items()
        }
        return images, targets

    return tf.data.Dataset.zip(dict(pipelines)).map(regroup).prefetch(2)
