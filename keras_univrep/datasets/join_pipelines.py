"""Joins pipelines of single domains into one of all domains."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.types import Tensor

if TYPE_CHECKING:
    import tensorflow as tf


def join_pipelines(pipelines: Mapping[str, "tf.data.Dataset"]) -> "tf.data.Dataset":
    """Joins one pipeline for each domain into batches that hold all domains.

    The shortest pipeline ends the joint one, so give it endless ones: those for training.

    Args:
        pipelines: Dict of domain to a dataset of (images, labels), such as `pipeline` or
            `decathlon_pipeline` makes. Sizes of images and batches may differ.

    Returns:
        Dataset of ({name: images}, {name: labels}).

    Raises:
        ValueError: If there is no pipeline.
        ImportError: If TensorFlow is not installed.

    Example:

    >>> from keras_univrep.datasets import load_domain, pipeline
    >>> sizes = {"eurosat": 8, "letters": 4}
    >>> parts = {n: pipeline(load_domain(n), "train", b, training=True) for n, b in sizes.items()}
    >>> images, labels = next(iter(join_pipelines(parts)))
    >>> {name: tuple(batch.shape) for name, batch in images.items()}
    {'eurosat': (8, 32, 32, 3), 'letters': (4, 32, 32, 3)}
    """
    if not pipelines:
        raise ValueError(
            "`pipelines` must hold at least one dataset. Received: an empty mapping. Pass "
            "`{name: pipeline(...)}`."
        )
    tf = load_tensorflow()

    def regroup(batch: dict[str, tuple[Tensor, Tensor]]) -> tuple[dict[str, Tensor], ...]:
        return tuple({name: batch[name][i] for name in pipelines} for i in (0, 1))

    return tf.data.Dataset.zip(dict(pipelines)).map(regroup).prefetch(2)
