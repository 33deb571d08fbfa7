"""Feeds few-shot episodes of a domain to a program."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_univrep.datasets.domain import Arrays, Domain
from keras_univrep.datasets.episode_reader import Batch, EpisodeReader, make_episode_reader
from keras_univrep.datasets.episodes import EpisodeSampler
from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.types import Tensor

if TYPE_CHECKING:
    import tensorflow as tf

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
    padding: int = 0,
    **kwargs: Any,
) -> "_EpisodeBatches":
    """Makes a sequence of the images of episodes, in NumPy, without TensorFlow.

    Item `index` is episode `index` of the sampler, or in training, in epoch `e` of `fit`, episode
    `e * episodes + index`. `for batch in episode_batches(...)` gives an epoch.

    Differences:
        li2022 scales images to [-1, 1]; here a domain's own mean and deviation are applied, as in
        `pipeline`. Images are not augmented, as in its episodes, unless `padding` says so.

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
        padding: In training, largest random shift of each image, in pixels, down or up and right or
            left; the border is a reflection of the image, as in `pipeline`. 0 for images as
            they are.
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
    reader = make_episode_reader(source, split, sampler, seed, pad_to, padding if training else 0)
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
    padding: int = 0,
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
        padding: As for `episode_batches`.

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
    reader = make_episode_reader(source, split, sampler, seed, pad_to, padding if training else 0)
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
        reader: EpisodeReader,
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
