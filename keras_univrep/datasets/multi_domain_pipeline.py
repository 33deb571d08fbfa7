"""Feeds several domains at once to a network through tf.data."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.pipeline import reader_dataset
from keras_univrep.datasets.readers import make_readers, named_domains
from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.types import Tensor

if TYPE_CHECKING:
    import tensorflow as tf


def multi_domain_pipeline(
    domains: Mapping[str, Domain] | Sequence[Domain],
    split: str,
    batch_size: int | Mapping[str, int],
    training: bool = False,
    augmentation: str | None = "crop_flip",
    padding: int | None = None,
    seed: int = 0,
    first_step: int = 0,
) -> "tf.data.Dataset":
    """Makes a tf.data pipeline whose batches hold images of every domain.

    In training it is endless (give `fit` a `steps_per_epoch`) and each domain repeats at its own
    length; shuffling and augmentation are those of `pipeline`, and a domain's images do not depend
    on which other domains are there. Otherwise every image of every domain comes exactly once: a
    domain is divided evenly over the steps of the longest, so its batches are smaller than
    `batch_size`. Where the shortest domain has fewer images than that, there are as many steps as
    it has images and the batches of the others grow accordingly.

    Args:
        domains: Dict of name to `Domain`, or a list of domains, which go by their own names.
        split: Name of a split that every domain has.
        batch_size: Images a batch for each domain, or a dict of name to number.
        training: Whether to shuffle, repeat and augment.
        augmentation: "crop", "crop_flip" or None; used in training only, mirrors only where
            `Domain.flip` allows.
        padding: Largest shift of the crop in pixels; None for an eighth of each side.
        seed: Integer from 0.
        first_step: Step to begin at, in training: how a resumed training finds its place.

    Returns:
        Dataset of ({name: images}, {name: labels}): float32 (batch, height, width, channels),
        normalised with the domain's own mean and deviation (dimensionless), and int32 (batch,).

    Raises:
        ValueError: If an argument is out of range or does not fit the domains.
        TypeError: If something other than domains is passed.
        ImportError: If TensorFlow is not installed.

    Example:

    >>> from keras_univrep.datasets import load_domain
    >>> domains = [load_domain("eurosat"), load_domain("letters")]
    >>> images, labels = next(iter(multi_domain_pipeline(domains, "train", 8, training=True)))
    >>> {name: tuple(batch.shape) for name, batch in images.items()}
    {'eurosat': (8, 32, 32, 3), 'letters': (8, 32, 32, 3)}
    """
    domains = named_domains(domains)
    readers = make_readers(domains, split, batch_size, training, augmentation, padding, seed)
    tf = load_tensorflow()
    parts = {
        name: reader_dataset(reader, domains[name].image_shape, first_step)
        for name, reader in readers.items()
    }

    def regroup(
        batch: dict[str, tuple[Tensor, Tensor]],
    ) -> tuple[dict[str, Tensor], ...]:
        return tuple({name: batch[name][i] for name in domains} for i in (0, 1))

    return tf.data.Dataset.zip(parts).map(regroup).prefetch(2)
