"""Feeds few-shot episodes of a domain to a program."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_univrep.datasets.domain import Arrays, Domain
from keras_univrep.datasets.episode import Episode
from keras_univrep.datasets.episodes import EpisodeSampler
from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.types import Tensor

if TYPE_CHECKING:
    import tensorflow as tf

Batch = dict[str, np.ndarray]
# Floats of half a megabyte.
_CACHED_VALUES = 2**17
KEYS = ("support_images", "support_labels", "query_images", "query_labels")


def episode_batches(
    source: Domain | Arrays,
    split: str | None,
    sampler: EpisodeSampler | str,
    episodes: int = 600,
    batch_size: int | None = None,
    training: bool = False,
    seed: int = 0,
    pad_to: tuple[int, int] | None = None,
    **kwargs: Any,
) -> "_EpisodeBatches":
    """Makes a sequence of the images of episodes, in NumPy, without TensorFlow.

    Item `index` is episode `index` of the sampler, or in training, in epoch `e` of `fit`, episode
    `e * episodes + index`. `for batch in episode_batches(...)` gives an epoch.

    Differences:
        li2022 scales images to [-1, 1]; here a domain's own mean and deviation are applied, as in
        `pipeline`. Images are not augmented, as in its episodes.

    Args:
        source: The `Domain`; or arrays (images, labels) that are ready to use, such as features:
            floats (n, ...) and integers (n,).
        split: Name of a split of the domain; None with arrays.
        sampler: An `EpisodeSampler` made of the labels of this split, or the name of a protocol of
            `EpisodeSampler.from_protocol`.
        episodes: Number of episodes (of an epoch); li2022 tests on 600.
        batch_size: Episodes of an item, stacked on a first axis, which needs a sampler of episodes
            of one size, or `pad_to`; the last item may be smaller. None for one episode without
            that axis.
        training: Whether each epoch brings new episodes.
        seed: Seed of the sampler of a protocol, integer from 0; without effect on a sampler.
        pad_to: Numbers (support, query) of images to which each episode is filled up, so that all
            have one shape and a compiled program is compiled once: with its own images again, in
            their order, and labels of -1. `sampler.largest_size` is always enough. None for no
            padding.
        **kwargs: Of `keras.utils.PyDataset`: `workers`, `use_multiprocessing`, `max_queue_size`.

    Returns:
        A `keras.utils.PyDataset`. An item is a dict of "support_images", float32 (support, height,
        width, channels), normalised (dimensionless); "support_labels", int32 (support,), in
        [0, way), or -1 where padded; and "query_images" and "query_labels" alike.

    Raises:
        ValueError: If an argument is out of range, the sampler was made of other labels, the split
            has too few classes with enough images, or an episode is larger than `pad_to`.
        TypeError: If arrays are of integers, or the source is neither a domain nor two arrays.

    Example:

    >>> from keras_univrep.datasets import EpisodeSampler, load_domain
    >>> domain = load_domain("eurosat")
    >>> sampler = EpisodeSampler(domain.arrays("test")[1], way=5, shot=1)
    >>> batch = episode_batches(domain, "test", sampler, episodes=3)[0]
    >>> batch["support_images"].shape, batch["query_labels"].shape
    ((5, 32, 32, 3), (50,))
    """
    reader = _reader(source, split, sampler, seed, pad_to)
    _check(episodes, batch_size, reader.sampler, pad_to)
    return _EpisodeBatches(reader, int(episodes), batch_size, training, **kwargs)


def episode_pipeline(
    source: Domain | Arrays,
    split: str | None,
    sampler: EpisodeSampler | str,
    episodes: int = 600,
    batch_size: int | None = None,
    training: bool = False,
    seed: int = 0,
    pad_to: tuple[int, int] | None = None,
    first_step: int = 0,
) -> "tf.data.Dataset":
    """Makes a tf.data pipeline of the items of `episode_batches`.

    Args:
        source: As for `episode_batches`.
        split: As for `episode_batches`.
        sampler: As for `episode_batches`.
        episodes: Number of episodes; without effect in training.
        batch_size: As for `episode_batches`.
        training: Whether to go on with new episodes without end.
        seed: As for `episode_batches`.
        pad_to: As for `episode_batches`.
        first_step: In training, the number of the first item, from 0: an interrupted training goes
            on with the episodes that it would have had.

    Returns:
        Dataset of the dicts of `episode_batches`. The number of images is known in advance only
        where episodes have one size, or are padded to one.

    Raises:
        ValueError: As for `episode_batches`.
        TypeError: As for `episode_batches`.
        ImportError: If TensorFlow is not installed.

    Example:

    >>> from keras_univrep.datasets import load_domain
    >>> episodes = episode_pipeline(load_domain("eurosat"), "test", "five_way_one_shot", episodes=2)
    >>> [int(batch["support_labels"].shape[0]) for batch in episodes]
    [5, 5]
    """
    tf = load_tensorflow()
    reader = _reader(source, split, sampler, seed, pad_to)
    _check(episodes, batch_size, reader.sampler, pad_to)
    if not isinstance(first_step, (int, np.integer)) or first_step < 0:
        raise ValueError(
            "`first_step` must be an integer of at least 0. Received: "
            f"first_step={first_step!r}. Pass the number of steps that are done."
        )
    if first_step and not training:
        raise ValueError(
            "`first_step` must be 0 where the episodes are the same in every epoch. Received: "
            f"first_step={first_step}, training=False. Pass `training=True`."
        )
    step = batch_size or 1
    sizes: tuple[int | None, int | None] = pad_to or (None, None)
    if pad_to is None and reader.sampler.has_one_size:
        way, shot = reader.sampler.way_range[0], int(reader.sampler.shot or 0)
        sizes = (way * shot, way * reader.sampler.query)
    lead = () if batch_size is None else (batch_size if training or not episodes % step else None,)
    types = (tf.float32, tf.int32) * 2

    def numpy_read(number: np.ndarray) -> list[np.ndarray]:
        first = int(number)
        count = step if training else min(step, int(episodes) - first)
        batch = reader(first, None if batch_size is None else count)
        return [batch[key] for key in KEYS]

    def read(first: Tensor) -> dict[str, Tensor]:
        values = tf.numpy_function(numpy_read, [first], types)
        found = {}
        for key, value in zip(KEYS, values, strict=True):
            shape = (*lead, sizes[key.startswith("query")])
            if key.endswith("images"):
                shape += reader.image_shape
            found[key] = tf.ensure_shape(value, shape)
        return found

    numbers = (
        tf.data.Dataset.counter(int(first_step) * step, step)
        if training
        else tf.data.Dataset.range(0, int(episodes), step)
    )
    return numbers.map(read).prefetch(2)


class _EpisodeBatches(keras.utils.PyDataset):
    """What `episode_batches` returns."""

    def __init__(
        self,
        reader: "_Reader",
        episodes: int,
        batch_size: int | None,
        training: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sampler = reader.sampler
        self._reader = reader
        self._episodes = episodes
        self._batch_size = batch_size
        self._training = training
        self._epoch = 0

    def __len__(self) -> int:
        return -(-self._episodes // (self._batch_size or 1))

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(
                f"`index` must be in [0, {len(self)}). Received: index={index}. Pass a smaller "
                "index."
            )
        start = self._epoch * self._episodes if self._training else 0
        if self._batch_size is None:
            return self._reader(start + index, None)
        first = index * self._batch_size
        return self._reader(start + first, min(self._batch_size, self._episodes - first))

    def on_epoch_end(self) -> None:
        """Moves on to the next epoch's episodes; `fit` calls it."""
        self._epoch += 1


class _Reader:
    """Maps numbers of episodes to their images and labels."""

    def __init__(
        self,
        images: np.ndarray,
        domain: Domain | None,
        sampler: EpisodeSampler,
        pad_to: tuple[int, int] | None,
    ) -> None:
        self.sampler = sampler
        self._pad_to = pad_to
        self.image_shape = images.shape[1:]
        self._images = images
        self._scale = self._shift = None
        if domain is not None:
            # A factor and an addend for every value of an image: NumPy is ten times slower over an
            # inner axis of three.
            repeats = domain.image_shape[0] * domain.image_shape[1]
            std = np.tile(np.asarray(domain.std, "float64"), repeats)
            mean = np.tile(np.asarray(domain.mean, "float64"), repeats)
            self._scale = (1 / (255 * std)).astype("float32")
            self._shift = (-mean / std).astype("float32")

    def __call__(self, first: int, count: int | None) -> Batch:
        if count is None or self.sampler.has_one_size:
            episode = self.sampler(first) if count is None else self.sampler.block(first, count)
            parts = self._parts(episode, first)
        else:
            rows = [self._parts(self.sampler(first + i), first + i) for i in range(count)]
            parts = [np.stack(arrays) for arrays in zip(*rows)]
        support, support_labels, queries, query_labels = parts
        return {
            "support_images": self._gather(support),
            "support_labels": support_labels,
            "query_images": self._gather(queries),
            "query_labels": query_labels,
        }

    def _parts(self, episode: Episode, number: int) -> list[np.ndarray]:
        """Indices and labels of the support set, then of the queries; padded if so asked."""
        found = []
        for place, part in enumerate(("support", "query")):
            indices, labels = (
                getattr(episode, f"{part}_indices"),
                getattr(episode, f"{part}_labels"),
            )
            size, wanted = indices.shape[-1], (self._pad_to or (None, None))[place]
            if wanted is not None and size > wanted:
                raise ValueError(
                    "`pad_to` must hold the images of each episode. Received: "
                    f"pad_to={self._pad_to}, episode {number} with {size} {part} images. Pass "
                    f"`pad_to=sampler.largest_size`, {self.sampler.largest_size}."
                )
            if wanted is not None:
                rows = np.arange(wanted)
                # Images of the episode, not zeros: batch normalisation sees them as well.
                indices = indices[..., rows % size]
                labels = np.where(rows < size, labels[..., rows % size], np.int32(-1))
            found += [indices, labels]
        return found

    def _gather(self, indices: np.ndarray) -> np.ndarray:
        if self._scale is None or self._shift is None:
            return self._images[indices].astype("float32", copy=False)
        flat = indices.ravel()
        values = np.empty((len(flat), len(self._scale)), "float32")
        # Few images at a time stay in the processor's cache from one operation to the next.
        few = max(1, _CACHED_VALUES // len(self._scale))
        for start in range(0, len(flat), few):
            part = values[start : start + few]
            part[...] = self._images[flat[start : start + few]].reshape(part.shape)
            part *= self._scale
            part += self._shift
        return values.reshape(*indices.shape, *self.image_shape)


def _reader(
    source: Domain | Arrays,
    split: str | None,
    sampler: EpisodeSampler | str,
    seed: int,
    pad_to: tuple[int, int] | None,
) -> _Reader:
    domain = source if isinstance(source, Domain) else None
    if domain is not None:
        images, labels = domain.arrays(str(split))
        where = f"split '{split}' of domain '{domain.name}'"
    else:
        images, labels = _check_arrays(source, split)
        where = "the arrays"
    if isinstance(sampler, str):
        stream = "" if domain is None else domain.name
        sampler = EpisodeSampler.from_protocol(sampler, labels, seed=seed, stream=stream)
    if not isinstance(sampler, EpisodeSampler):
        raise TypeError(
            "`sampler` must be an EpisodeSampler or the name of a protocol. Received: "
            f"{type(sampler).__name__}. Make one with `EpisodeSampler(labels)`."
        )
    if not np.array_equal(sampler.labels, labels):
        raise ValueError(
            f"`sampler` must be made of the labels of {where}. Received: a sampler of "
            f"{len(sampler.labels)} labels, {len(labels)} images. Pass "
            "`EpisodeSampler(labels)` with the labels of this split."
        )
    return _Reader(images, domain, sampler, pad_to)


def _check_arrays(source: Any, split: str | None) -> Arrays:
    if not isinstance(source, (tuple, list)) or len(source) != 2 or split is not None:
        raise TypeError(
            "`source` must be a Domain with the name of a split, or a pair (images, labels) with "
            f"split=None. Received: {type(source).__name__} with split={split!r}. Pass, for "
            "example, `load_domain('eurosat'), 'test'`."
        )
    images, labels = np.asarray(source[0]), np.asarray(source[1])
    if images.dtype.kind != "f":
        raise TypeError(
            "Images or features must be floats, ready to use. Received: dtype "
            f"{images.dtype}. Make a domain of integers with `domain_from_arrays`."
        )
    if images.ndim < 2 or labels.shape != images.shape[:1]:
        raise ValueError(
            "Arrays must have the shapes (n, ...) and (n,). Received: images "
            f"{images.shape}, labels {labels.shape}. Pass one label for each image."
        )
    return images, labels


def _check(
    episodes: int,
    batch_size: int | None,
    sampler: EpisodeSampler,
    pad_to: tuple[int, int] | None,
) -> None:
    for name, value in (("episodes", episodes), ("batch_size", batch_size)):
        if value is None and name == "batch_size":
            continue
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(
                f"`{name}` must be an integer of at least 1. Received: {name}={value!r}. Pass, for "
                "example, 4."
            )
    if pad_to is not None and (
        not isinstance(pad_to, (tuple, list))
        or len(pad_to) != 2
        or not all(isinstance(size, (int, np.integer)) and size > 0 for size in pad_to)
    ):
        raise ValueError(
            "`pad_to` must be None or two positive integers, (support, query). Received: "
            f"pad_to={pad_to!r}. Pass `sampler.largest_size`."
        )
    if batch_size is not None and pad_to is None and not sampler.has_one_size:
        raise ValueError(
            "Episodes can be stacked only where they have one size. Received: "
            f"batch_size={batch_size}, a sampler whose way, shot or query varies. Pass "
            "`batch_size=None`, `pad_to=sampler.largest_size`, or integers `way` and `shot` to "
            "`EpisodeSampler`."
        )
