"""Feeds images together with what teachers answered to them, through tf.data."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_univrep.datasets.fixed_views import FixedViews
from keras_univrep.datasets.taught_sequence import TaughtSequence
from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.types import Tensor

if TYPE_CHECKING:
    import tensorflow as tf


def taught_pipeline(
    views: Mapping[str, FixedViews],
    caches: Mapping[str, Any],
    batch_size: int | Mapping[str, int],
    seed: int = 0,
    first_step: int = 0,
) -> "tf.data.Dataset":
    """Makes an endless tf.data pipeline of the batches of `TaughtSequence`.

    Args:
        views: The `FixedViews` of each domain, by name.
        caches: For each domain with a teacher, a `models.TeacherCache` of that many samples.
        batch_size: Images a batch for each domain, or a dict of name to number.
        seed: Integer from 0, of the order.
        first_step: Step to begin at: how a resumed training finds its place.

    Returns:
        Dataset of ({"images": {name: images}, "targets": {name: {"features", "logits"}}},
        {name: labels}), with the shapes of `TaughtSequence`.

    Raises:
        ValueError: If an argument is out of range, or a cache does not fit its domain's views.
        ImportError: If TensorFlow is not installed.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import FixedViews, load_domain, taught_pipeline
    >>> from keras_univrep.models import TeacherCache
    >>> views = FixedViews(load_domain("eurosat"), "train", views=2)
    >>> cache = TeacherCache(np.zeros((len(views), 64)), np.zeros((len(views), 10)))
    >>> x, y = next(iter(taught_pipeline({"eurosat": views}, {"eurosat": cache}, 8)))
    >>> tuple(x["images"]["eurosat"].shape), tuple(x["targets"]["eurosat"]["logits"].shape)
    ((8, 32, 32, 3), (8, 10))
    """
    sequence = TaughtSequence(views, caches, batch_size, seed)
    tf = load_tensorflow()
    # Every batch has the first one's structure, shapes and dtypes.
    example = sequence.read(0)
    kinds = [value.dtype for value in tf.nest.flatten(example)]

    def read(step: Tensor) -> Any:
        flat = tf.numpy_function(lambda s: tf.nest.flatten(sequence.read(int(s))), [step], kinds)
        shaped = [
            tf.ensure_shape(value, array.shape)
            for value, array in zip(flat, tf.nest.flatten(example), strict=True)
        ]
        return tf.nest.pack_sequence_as(example, shaped)

    return tf.data.Dataset.counter(first_step).map(read).prefetch(2)
