"""Mini-batches of images with few-shot episodes of the same split."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.episode_pipeline import episode_batches
from keras_univrep.datasets.episodes import EpisodeSampler
from keras_univrep.datasets.readers import make_reader

_ENDLESS = 2**40


def batches_with_episodes(
    domain: Domain,
    split: str,
    sampler: EpisodeSampler,
    batch_size: int = 64,
    augmentation: str | None = "crop_flip",
    padding: int | None = None,
    seed: int = 0,
    first_step: int = 0,
) -> Iterator[tuple[dict[str, Any]]]:
    """Yields what a step of Omni-Training takes, without end and without TensorFlow.

    Args:
        domain: The `Domain`.
        split: Name of a split.
        sampler: An `EpisodeSampler` made of the labels of this split.
        batch_size: Images of a mini-batch.
        augmentation: Of the mini-batches: "crop", "crop_flip" or None; episodes have none.
        padding: Largest shift of a crop in pixels; None for an eighth of each side.
        seed: Seed of the mini-batches, integer from 0.
        first_step: Number of the first item, from 0: an interrupted training goes on with the
            batches that it would have had.

    Yields:
        `({"batch": (images, labels), "episode": item of `episode_batches`},)`.

    Raises:
        ValueError: If an argument is out of range, or the sampler was made of other labels.

    Example:

    >>> from keras_univrep.datasets import EpisodeSampler, batches_with_episodes, load_domain
    >>> domain = load_domain("eurosat")
    >>> sampler = EpisodeSampler(domain.arrays("train")[1], way=5, shot=1, query=2)
    >>> (item,) = next(batches_with_episodes(domain, "train", sampler, batch_size=8))
    >>> item["batch"][0].shape, item["episode"]["query_images"].shape
    ((8, 32, 32, 3), (10, 32, 32, 3))
    """
    if not isinstance(first_step, (int, np.integer)) or first_step < 0:
        raise ValueError(
            f"`first_step` must be an integer of at least 0. Received: first_step={first_step!r}. "
            "Pass the number of steps that are done."
        )
    reader = make_reader(domain, split, batch_size, True, augmentation, padding, seed, domain.name)
    episodes = episode_batches(domain, split, sampler, _ENDLESS)
    return _items(reader, episodes, int(first_step))


def _items(reader: Any, episodes: Any, step: int) -> Iterator[tuple[dict[str, Any]]]:
    while True:
        yield ({"batch": reader(step), "episode": episodes[step]},)
        step += 1
