"""Feeds a dense domain to a network without TensorFlow."""

import concurrent.futures
from collections.abc import Sequence
from typing import Any

import keras

from keras_univrep.datasets.dense_augment import SCALES
from keras_univrep.datasets.dense_domain import DenseArrays, DenseDomain
from keras_univrep.datasets.dense_pipeline import check_first_step
from keras_univrep.datasets.dense_reader import DenseReader


class DenseSequence(keras.utils.PyDataset):
    """Gives the batches of `dense_pipeline` in NumPy, without TensorFlow.

    Batch `index` of epoch `e` is step `first_step + e * len(sequence) + index` of the pipeline with
    the same arguments. `fit` shuffles the order of the batches inside an epoch unless it gets
    `shuffle=False`. Each call of `fit` ends an epoch before its first, so the first call trains
    from `e = 1`, on every backend alike: a training resumed after k epochs with
    `first_step=k * len(sequence)` sees what it would have seen.

    While a batch is in use, a thread reads the one after it, unless batches are asked for in
    another order (so `shuffle=False` is faster). Leave `workers` at 1: the workers of Keras read
    past the end of an epoch before the next begins, which gives some batches twice.

    Args:
        domain: The `DenseDomain`.
        split: Name of a split.
        batch_size: Images a batch; the last batch of an evaluation may be smaller.
        training: Whether to shuffle, repeat and augment.
        augmentation: "scale_crop_flip", "scale_crop", "flip" or None; used in training only,
            mirrors only where `DenseDomain.flip` allows.
        scales: Factors of enlarging to choose from.
        tasks: Tasks to read; None for all of the domain.
        seed: Integer from 0.
        steps: Batches of an epoch in training; None for one pass over the split.
        first_step: Step to begin at, in training: how a resumed training finds its place.
        **kwargs: Of `keras.utils.PyDataset`.

    Returns:
        Item `index` is (images, {task: maps}): float32 (batch, height, width, channels) in [0, 1];
        labels int32 (batch, height, width), -1 without label; depth (metres), disparity and
        normals float32 (batch, height, width, 1 or 3), 0 where unknown.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import DenseDomain, DenseSequence
    >>> arrays = np.zeros((5, 8, 8, 3), "uint8"), {"depth": np.ones((5, 8, 8, 1), "float32")}
    >>> domain = DenseDomain("toy", {"depth": "depth"}, {}, (8, 8, 3), {"train": arrays})
    >>> batches = DenseSequence(domain, "train", 2)
    >>> [len(batches[index][0]) for index in range(len(batches))]
    [2, 2, 1]
    """

    def __init__(
        self,
        domain: DenseDomain,
        split: str,
        batch_size: int,
        training: bool = False,
        augmentation: str | None = "scale_crop_flip",
        scales: Sequence[float] = SCALES,
        tasks: Sequence[str] | None = None,
        seed: int = 0,
        steps: int | None = None,
        first_step: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_first_step(first_step, training)
        if steps is not None and (not training or steps < 1):
            raise ValueError(
                "`steps` must be None or, in training, at least 1: without training every image "
                f"comes once. Received: steps={steps}, training={training}. Pass `steps=None`."
            )
        self._reader = DenseReader(
            domain, split, batch_size, training, augmentation, scales, tasks, seed
        )
        self._training = training
        self._first = first_step
        self._steps = self._reader.plan.pass_steps if steps is None else steps
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        # The step asked for last, and the batch after it if it is being read.
        self._ahead: tuple[int, concurrent.futures.Future[DenseArrays] | None] = (-2, None)

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> DenseArrays:
        if not 0 <= index < self._steps:
            raise IndexError(
                f"`index` must be in [0, {self._steps}). Received: index={index}. Pass a smaller "
                "index."
            )
        step = self._first + index
        last, future = self._ahead
        follows = step == last + 1
        # The batch being read is a step's, whatever the epoch: it cannot be a wrong one.
        batch = future.result() if follows and future is not None else self._reader(step)
        more = self._training or index + 1 < self._steps
        following = self._thread.submit(self._reader, step + 1) if follows and more else None
        self._ahead = (step, following)
        return batch

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch's batches; `fit` calls it."""
        if self._training:
            self._first += self._steps
