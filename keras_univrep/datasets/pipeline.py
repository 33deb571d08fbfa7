"""Feeds one domain to a network through tf.data."""

from typing import TYPE_CHECKING

from keras_univrep.datasets.batch_reader import BatchReader
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.readers import make_reader
from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.types import Tensor

if TYPE_CHECKING:
    import tensorflow as tf


def pipeline(
    domain: Domain,
    split: str,
    batch_size: int,
    training: bool = False,
    augmentation: str | None = "crop_flip",
    padding: int | None = None,
    seed: int = 0,
) -> "tf.data.Dataset":
    """Makes a tf.data pipeline over a split of a domain.

    In training it is endless (give `fit` a `steps_per_epoch`), shuffled anew at each pass, and
    augmented: a random crop of the image's own size after reflecting its border by `padding`
    pixels, and a mirror image half of the time where `domain.flip` allows it; with "colour" in the
    augmentation's name, saturation and contrast change by up to a fifth and the hue by up to 3 % of
    a turn. Otherwise it gives every image once, in order. The same seed gives the same batches, and
    `MultiDomainSequence` gives them without TensorFlow.

    Differences:
        rebuffi2018 and li2022 resize to 72 pixels and crop 64, a shift of at most 1/16 of the side
        each way. The default here, 1/8 of the side (4 pixels at 32), suits images of 32 pixels;
        `padding=2` keeps the papers' proportion there. Changes of colour are those of li2022's
        released code on Meta-Dataset, but of the crop and not of the whole image. That code also
        adds up to 0.125 to pixels in [0, 255], where 0.125 of the range may have been meant: here
        there is no such change.

    Args:
        domain: The `Domain`.
        split: Name of a split.
        batch_size: Images a batch.
        training: Whether to shuffle, repeat and augment.
        augmentation: "crop", "crop_flip", either with "_colour" after it, or None; used in training
            only.
        padding: Largest shift of the crop in pixels; None for an eighth of each side.
        seed: Integer from 0.

    Returns:
        Dataset of (images, labels): float32 (batch, height, width, channels), normalised with the
        domain's mean and deviation (dimensionless), and int32 (batch,).

    Raises:
        ValueError: If an argument is out of range.
        ImportError: If TensorFlow is not installed.

    Example:

    >>> from keras_univrep.datasets import load_domain
    >>> batches = pipeline(load_domain("signdigits"), "train", batch_size=8, training=True)
    >>> images, labels = next(iter(batches))
    >>> tuple(images.shape), tuple(labels.shape)
    ((8, 32, 32, 3), (8,))
    """
    reader = make_reader(
        domain, split, batch_size, training, augmentation, padding, seed, domain.name
    )
    return reader_dataset(reader, domain.image_shape).prefetch(2)


def reader_dataset(
    reader: BatchReader, image_shape: tuple[int, int, int], first_step: int = 0
) -> "tf.data.Dataset":
    """Wraps a reader in tf.data, without prefetching; endless readers start at `first_step`."""
    tf = load_tensorflow()
    plan = reader.plan
    length = plan.batch_size if plan.training else None

    def read(step: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = tf.numpy_function(reader, [step], [tf.float32, tf.int32])
        return tf.ensure_shape(images, (length, *image_shape)), tf.ensure_shape(labels, (length,))

    # `map` keeps the cardinality, so `fit` knows the length of an evaluation.
    steps = (
        tf.data.Dataset.counter(first_step)
        if plan.steps is None
        else tf.data.Dataset.range(plan.steps)
    )
    return steps.map(read)
