"""Feeds sources of several tasks at once to a network without TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.datasets.dense_augment import SCALES
from keras_univrep.datasets.dense_pipeline import check_first_step
from keras_univrep.datasets.source_readers import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    least_passes,
    make_source_readers,
)
from keras_univrep.datasets.source_shares import Sources

Batch = tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]


class SourceSequence(keras.utils.PyDataset):
    """Gives the batches of `source_pipeline` in NumPy, without TensorFlow.

    Batch `index` of epoch `e` is step `first_step + e * len(sequence) + index` of the pipeline with
    the same arguments. `fit` shuffles the order of the batches inside an epoch unless it gets
    `shuffle=False`. Each call of `fit` ends an epoch before its first, so the first call trains
    from `e = 1`, on every backend alike: a training resumed after k epochs with
    `first_step=k * len(sequence)` sees what it would have seen.

    An epoch is what ends, here, when a source runs dry:

    | on_end | an epoch of training, with `steps=None` |
    |---|---|
    | "repeat" | one pass over the source with the most batches; the others begin again |
    | "stop" | as many whole batches as the source with the fewest has |
    | "error" | the same; a larger `steps` is refused |

    Args:
        sources: `{task: {name: Source}}`. Sources of a task have one kind and image shape.
        split: Name of a split that every source has.
        batch_size: Images of each source, or `{task: number}`, or `{task: {name: number}}`.
        training: Whether to shuffle, repeat and augment.
        mix: "equal", "proportional", or a number between 0 and 1.
        on_end: "repeat", "stop" or "error", see above.
        augmentation: "default", None, or a dict of kind to its augmentation.
        mean: Per channel, of images in [0, 1]; those of ImageNet by default.
        std: The same.
        scales: Factors of enlarging to choose from.
        min_visible: Share of a box's area that a crop must leave for the box to stay.
        seed: Integer from 0.
        steps: Batches of an epoch in training; None as above.
        first_step: Step to begin at, in training.
        **kwargs: Of `keras.utils.PyDataset`.

    Returns:
        Item `index` is ({task: {name: images}}, {task: {name: targets}}), see `source_pipeline`.

    Raises:
        ValueError: If an argument is out of range or does not fit the sources.
        TypeError: If something other than sources is passed.

    Example:

    >>> from keras_univrep.datasets import SourceSequence, load_domain, source_from_domain
    >>> sources = {"classification": {"eurosat": source_from_domain(load_domain("eurosat"))}}
    >>> batches = SourceSequence(sources, "train", 8, training=True)
    >>> images, labels = batches[0]
    >>> len(batches), images["classification"]["eurosat"].shape
    (100, (8, 32, 32, 3))
    """

    def __init__(
        self,
        sources: Sources,
        split: str,
        batch_size: int | Mapping[str, Any],
        training: bool = False,
        mix: str | float = "equal",
        on_end: str = "repeat",
        augmentation: str | None | Mapping[str, str | None] = "default",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        scales: Sequence[float] = SCALES,
        min_visible: float = 0.25,
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
        self._readers = make_source_readers(
            sources, split, batch_size, training, mix, on_end, augmentation, mean, std, scales,
            min_visible, seed,
        )  # fmt: skip
        every = [reader for row in self._readers.values() for reader in row.values()]
        least = least_passes(self._readers)
        if on_end == "error" and steps is not None and steps > least:
            short = min(every, key=lambda reader: reader.passes)
            raise ValueError(
                f"`steps` must be at most {least} with on_end='error': split '{split}' of source "
                f"'{short.source.name}' has {short.plan.size} images. Received: steps={steps}. "
                "Train for fewer steps, or pass on_end='repeat'."
            )
        for reader in every:
            # The length of an epoch has been checked; the next one is another pass.
            reader.once = False
        if steps is None and on_end == "repeat":
            steps = max(reader.plan.pass_steps for reader in every)
        self._steps = least if steps is None else steps
        self._training = training
        self._first = first_step

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < self._steps:
            raise IndexError(
                f"`index` must be in [0, {self._steps}). Received: index={index}. Pass a smaller "
                "index."
            )
        batches = {
            task: {name: reader(self._first + index) for name, reader in row.items()}
            for task, row in self._readers.items()
        }
        images, targets = (
            {task: {name: batch[i] for name, batch in row.items()} for task, row in batches.items()}
            for i in (0, 1)
        )
        return images, targets

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch's batches; `fit` calls it."""
        if self._training:
            self._first += self._steps
