"""Feeds several domains at once to a network without TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.readers import make_readers, named_domains

Batch = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


class MultiDomainSequence(keras.utils.PyDataset):
    """Gives the batches of `multi_domain_pipeline` in NumPy, without TensorFlow.

    Batch `index` of epoch `e` is step `e * len(sequence) + index` of the pipeline with the same
    arguments: the same images, crops and mirrors. `fit` shuffles the order of the batches inside an
    epoch unless it gets `shuffle=False`. Each call of `fit` ends an epoch before its first, so the
    first call trains from `e = 1`, on every backend alike.

    Args:
        domains: Dict of name to `Domain`, or a list of domains, which go by their own names.
        split: Name of a split that every domain has.
        batch_size: Images a batch for each domain, or a dict of name to number.
        training: Whether to shuffle, repeat and augment.
        augmentation: "crop", "crop_flip", either with "_colour" after it, or None; used in training
            only, mirrors only where `Domain.flip` allows.
        padding: Largest shift of the crop in pixels; None for an eighth of each side.
        seed: Integer from 0.
        steps: Batches of an epoch in training; None for one pass over the longest domain.
        **kwargs: Of `keras.utils.PyDataset`: `workers`, `use_multiprocessing`, `max_queue_size`.

    Returns:
        Item `index` is ({name: images}, {name: labels}): float32 (batch, height, width, channels),
        normalised (dimensionless), and int32 (batch,).

    Raises:
        ValueError: If an argument is out of range or does not fit the domains.
        TypeError: If something other than domains is passed.

    Example:

    >>> from keras_univrep.datasets import load_domain
    >>> batches = MultiDomainSequence([load_domain("eurosat")], "train", 8, training=True)
    >>> images, labels = batches[0]
    >>> len(batches), images["eurosat"].shape, labels["eurosat"].shape
    (100, (8, 32, 32, 3), (8,))
    """

    def __init__(
        self,
        domains: Mapping[str, Domain] | Sequence[Domain],
        split: str,
        batch_size: int | Mapping[str, int],
        training: bool = False,
        augmentation: str | None = "crop_flip",
        padding: int | None = None,
        seed: int = 0,
        steps: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if steps is not None and (not training or steps < 1):
            raise ValueError(
                "`steps` must be None or, in training, at least 1: without training every image "
                f"comes once. Received: steps={steps}, training={training}. Pass `steps=None`."
            )
        self._readers = make_readers(
            named_domains(domains), split, batch_size, training, augmentation, padding, seed
        )
        plans = [reader.plan for reader in self._readers.values()]
        self._training = training
        self._epoch = 0
        self._steps = max(plan.pass_steps for plan in plans) if steps is None else steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < self._steps:
            raise IndexError(
                f"`index` must be in [0, {self._steps}). Received: index={index}. Pass a smaller "
                "index."
            )
        step = self._epoch * self._steps + index if self._training else index
        batches = {name: reader(step) for name, reader in self._readers.items()}
        images = {name: batch[0] for name, batch in batches.items()}
        return images, {name: batch[1] for name, batch in batches.items()}

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch's batches; `fit` calls it."""
        self._epoch += 1
