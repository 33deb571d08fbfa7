"""Feeds a dense domain to a network through tf.data."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_univrep.datasets.dense_augment import SCALES
from keras_univrep.datasets.dense_domain import DenseDomain
from keras_univrep.datasets.dense_reader import DenseReader
from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.types import Tensor

if TYPE_CHECKING:
    import tensorflow as tf


def dense_pipeline(
    domain: DenseDomain,
    split: str,
    batch_size: int,
    training: bool = False,
    augmentation: str | None = "scale_crop_flip",
    scales: Sequence[float] = SCALES,
    tasks: Sequence[str] | None = None,
    seed: int = 0,
    first_step: int = 0,
) -> "tf.data.Dataset":
    """Makes a tf.data pipeline over a split of a dense domain.

    In training it is endless (give `fit` a `steps_per_epoch`), shuffled anew at each pass, and
    augmented as `dense_augment` says; images are mirrored only where `domain.flip` allows it.
    Otherwise it gives every image once, in order, as it is. The next batches are read while the
    network works. The same seed gives the same batches, and `DenseSequence` gives them without
    TensorFlow.

    Args:
        domain: The `DenseDomain`.
        split: Name of a split.
        batch_size: Images a batch; the last batch of an evaluation may be smaller.
        training: Whether to shuffle, repeat and augment.
        augmentation: "scale_crop_flip", "scale_crop", "flip" or None; used in training only.
        scales: Factors of enlarging to choose from.
        tasks: Tasks to read; None for all of the domain.
        seed: Integer from 0.
        first_step: Step to begin at, in training: how a resumed training finds its place.

    Returns:
        Dataset of (images, {task: maps}): float32 (batch, height, width, channels) in [0, 1];
        labels int32 (batch, height, width), -1 without label; depth (metres), disparity and
        normals float32 (batch, height, width, 1 or 3), 0 where unknown.

    Raises:
        ValueError: If an argument is out of range.
        ImportError: If TensorFlow is not installed.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import DenseDomain, dense_pipeline
    >>> arrays = np.zeros((5, 8, 8, 3), "uint8"), {"depth": np.ones((5, 8, 8, 1), "float32")}
    >>> domain = DenseDomain("toy", {"depth": "depth"}, {}, (8, 8, 3), {"train": arrays})
    >>> images, targets = next(iter(dense_pipeline(domain, "train", 2, training=True)))
    >>> tuple(images.shape), tuple(targets["depth"].shape)
    ((2, 8, 8, 3), (2, 8, 8, 1))

    References:
        - Li, Liu and Bilen, Universal Representations: A Unified Look at Multiple Task and Domain
          Learning, 2022.
    """
    check_first_step(first_step, training)
    reader = DenseReader(domain, split, batch_size, training, augmentation, scales, tasks, seed)
    tf = load_tensorflow()
    plan = reader.plan
    length = plan.batch_size if training else None
    height, width, _ = domain.image_shape
    types = [tf.int32 if kind == "segmentation" else tf.float32 for kind in reader.tasks.values()]

    def flat(step: Tensor) -> list[Tensor]:
        images, targets = reader(step)
        return [images, *targets.values()]

    def read(step: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        images, *maps = tf.numpy_function(flat, [step], [tf.float32, *types])
        targets = {}
        for (task, kind), values in zip(reader.tasks.items(), maps, strict=True):
            last = () if kind == "segmentation" else (domain.channels[task],)
            targets[task] = tf.ensure_shape(values, (length, height, width, *last))
        return tf.ensure_shape(images, (length, *domain.image_shape)), targets

    # `map` keeps the cardinality, so `fit` knows the length of an evaluation.
    steps = (
        tf.data.Dataset.counter(first_step)
        if plan.steps is None
        else tf.data.Dataset.range(plan.steps)
    )
    return steps.map(read).prefetch(2)


def check_first_step(first_step: int, training: bool) -> None:
    """Checks where a training begins."""
    if first_step < 0 or (first_step and not training):
        raise ValueError(
            "`first_step` must be at least 0, and 0 without training: an evaluation covers every "
            f"image. Received: first_step={first_step}, training={training}. Pass `first_step=0`."
        )
