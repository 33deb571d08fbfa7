"""Sums over the classes of episodes of one size, labels of -1 being padding."""

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.types import Tensor


def check_undivided(single: bool) -> None:
    """Refuses one episode where batches are divided: a part of its samples is another episode."""
    if single and backend.in_a_replica():
        raise ValueError(
            "Where a `tf.distribute` strategy divides the batches, they must have an axis of "
            "episodes. Received: one episode without it, of which each replica would have some "
            "samples. Stack a multiple of the replicas of them, (episodes, samples, ...)."
        )


def membership(labels: Tensor, way: int, dtype: str) -> Tensor:
    """Ones where a sample is of a class, (episodes, samples, way); padding belongs to none."""
    # Not `ops.one_hot`, which treats labels outside [0, way) differently on each backend.
    return ops.cast(ops.equal(labels[..., None], ops.arange(way, dtype=labels.dtype)), dtype)


def class_means(features: Tensor, members: Tensor) -> Tensor:
    """Means of the samples of each class; zeros for a class without any.

    Args:
        features: (episodes, samples, channels).
        members: As `membership` gives it, (episodes, samples, way).

    Returns:
        Tensor of shape (episodes, way, channels).
    """
    sums = ops.matmul(ops.swapaxes(members, 1, 2), features)
    counts = ops.sum(members, axis=1)[..., None]
    return sums / ops.maximum(counts, 1.0)


def embed(backbone: keras.Model, images: Tensor, training: bool | None, **kwargs: Tensor) -> Tensor:
    """Features of the images of all episodes, which go through the backbone as one batch.

    Args:
        backbone: A model of images (batch, ...) that returns features (batch, channels).
        images: (episodes, samples, ...).
        training: As for the backbone.
        **kwargs: Further arguments of the backbone's call.

    Returns:
        Tensor of shape (episodes, samples, channels).
    """
    flat = ops.reshape(images, (-1, *images.shape[2:]))
    features = backbone(flat, training=training, **kwargs)
    # One size at most may be unknown in a shape.
    samples = images.shape[1] or ops.shape(images)[1]
    return ops.reshape(features, (-1, samples, features.shape[-1]))
