"""Batches of several domains to train on, with TensorFlow or without."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.multi_domain_pipeline import multi_domain_pipeline
from keras_univrep.datasets.multi_domain_sequence import Batch
from keras_univrep.datasets.readers import make_readers, named_domains
from keras_univrep.datasets.tensorflow_loader import load_tensorflow


def endless_batches(
    domains: Mapping[str, Domain] | Sequence[Domain],
    split: str,
    batch_size: int | Mapping[str, int],
    augmentation: str | None = "crop_flip",
    padding: int | None = None,
    seed: int = 0,
    first_step: int = 0,
) -> Any:
    """Gives the training batches of `multi_domain_pipeline`, from NumPy where there is no tf.data.

    They are the same images, crops and mirrors in the same order. What tf.data prepares ahead, on
    several cores, a generator makes when it is asked.

    Args:
        domains: Dict of name to `Domain`, or a list of domains, which go by their own names.
        split: Name of a split that every domain has.
        batch_size: Images a batch for each domain, or a dict of name to number.
        augmentation: "crop", "crop_flip" or None; mirrors only where `Domain.flip` allows.
        padding: Largest shift of the crop in pixels; None for an eighth of each side.
        seed: Integer from 0.
        first_step: Step to begin at.

    Returns:
        Endless ({name: images}, {name: labels}), a `tf.data.Dataset` where TensorFlow is installed
        and else a generator: what `fit` takes, with `steps_per_epoch`, and `models.resumable_fit`.

    Raises:
        ValueError: If an argument is out of range or does not fit the domains.
        TypeError: If something other than domains is passed.

    Example:

    >>> from keras_univrep.datasets import endless_batches, load_domain
    >>> images, labels = next(iter(endless_batches([load_domain("eurosat")], "train", 8)))
    >>> tuple(images["eurosat"].shape), tuple(labels["eurosat"].shape)
    ((8, 32, 32, 3), (8,))
    """
    try:
        load_tensorflow()
    except ImportError:
        readers = make_readers(
            named_domains(domains), split, batch_size, True, augmentation, padding, seed
        )
        return _batches(readers, first_step)
    return multi_domain_pipeline(
        domains, split, batch_size, True, augmentation, padding, seed, first_step
    )


def _batches(readers: Mapping[str, Any], first_step: int) -> Iterator[Batch]:
    for step in itertools.count(first_step):
        batches = {name: reader(step) for name, reader in readers.items()}
        images = {name: batch[0] for name, batch in batches.items()}
        yield images, {name: batch[1] for name, batch in batches.items()}
