"""Mini-batches of images with few-shot episodes of the same split."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_univrep.datasets.batch_plan import BatchPlan, Plan
from keras_univrep.datasets.batch_reader import BatchReader
from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.episode_pipeline import episode_batches
from keras_univrep.datasets.episodes import EpisodeSampler
from keras_univrep.datasets.readers import make_reader

_ENDLESS = 2**40
# The draws of one seed that say which domain an episode is of.
_EPISODES = 3


def batches_with_episodes(
    domain: Domain | Sequence[Domain],
    split: str,
    sampler: EpisodeSampler | Sequence[EpisodeSampler],
    batch_size: int = 64,
    augmentation: str | None = "crop_flip",
    padding: int | None = None,
    seed: int = 0,
    first_step: int = 0,
) -> Iterator[tuple[dict[str, Any]]]:
    """Yields what a step of Omni-Training takes, without end and without TensorFlow.

    Of several domains, as in shu2021, table 5, a mini-batch holds images of all, each drawn as
    often as the others, and an episode is of one of them, drawn uniformly for each step.

    Args:
        domain: The `Domain`, or several of one image shape. The labels of mini-batches then count
            on: those of the second domain begin where those of the first end.
        split: Name of a split.
        sampler: An `EpisodeSampler` made of the labels of this split; of several domains, one each,
            of episodes of one size.
        batch_size: Images of a mini-batch.
        augmentation: Of the mini-batches: "crop", "crop_flip" or None; episodes have none.
        padding: Largest shift of a crop in pixels; None for an eighth of each side.
        seed: Seed of the mini-batches, and of which domain an episode is of, integer from 0.
        first_step: Number of the first item, from 0: an interrupted training goes on with the
            batches that it would have had.

    Yields:
        `({"batch": (images, labels), "episode": item of `episode_batches`},)`.

    Raises:
        ValueError: If an argument is out of range, a sampler was made of other labels, or domains
            and samplers do not match.

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
    domains = [domain] if isinstance(domain, Domain) else list(domain)
    samplers = [sampler] if isinstance(sampler, EpisodeSampler) else list(sampler)
    shapes = {one.image_shape for one in domains}
    if len(domains) != len(samplers) or len(shapes) != 1:
        raise ValueError(
            "`domain` must hold domains of one image shape, and `sampler` one sampler for each. "
            f"Received: {len(domains)} domains of the shapes {sorted(shapes)} and {len(samplers)} "
            "samplers. Make a sampler of the labels of each domain, and resize the images."
        )
    episodes = [episode_batches(d, split, s, _ENDLESS) for d, s in zip(domains, samplers)]
    if len(domains) == 1:
        one = domains[0]
        readers = [make_reader(one, split, batch_size, True, augmentation, padding, seed, one.name)]
    else:
        readers = _shares(domains, split, batch_size, augmentation, padding, seed)
    firsts = np.cumsum([0, *(one.num_classes for one in domains[:-1])])
    return _items(readers, firsts, episodes, seed, int(first_step))


class _Share(BatchPlan):
    """What the batches of several domains hold of one: images `first` to `first + count` of all."""

    def __init__(self, first: int, count: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first, self._count = first, count

    def __call__(self, step: int) -> Plan:
        indices, rows, columns = super().__call__(step)
        own = (indices >= self._first) & (indices < self._first + self._count)
        return indices[own] - self._first, rows[own], columns[own]


def _shares(
    domains: Sequence[Domain],
    split: str,
    batch_size: int,
    augmentation: str | None,
    padding: int | None,
    seed: int,
) -> list[BatchReader]:
    """Readers of the images of each domain in the batches of all: one order, one seed."""
    counts = [one.size(split) for one in domains]
    stream = "+".join(one.name for one in domains)
    readers = []
    for one, first, count in zip(domains, np.cumsum([0, *counts]), counts):
        # Mirrors are drawn last, so that a domain without them has the order of the others.
        own = "crop" if augmentation == "crop_flip" and not one.flip else augmentation
        plan = _Share(
            int(first), count, sum(counts), one.image_shape, batch_size, True, own, padding,
            seed=seed, stream=stream,
        )  # fmt: skip
        readers.append(BatchReader(one, split, plan))
    return readers


def _items(
    readers: Sequence[BatchReader],
    firsts: np.ndarray,
    episodes: Sequence[Any],
    seed: int,
    step: int,
) -> Iterator[tuple[dict[str, Any]]]:
    while True:
        parts = [reader(step) for reader in readers]
        images = np.concatenate([images for images, _ in parts])
        labels = np.concatenate([own + np.int32(k) for (_, own), k in zip(parts, firsts)])
        place = 0
        if len(episodes) > 1:
            place = int(np.random.default_rng((seed, _EPISODES, step)).integers(len(episodes)))
        yield ({"batch": (images, labels), "episode": episodes[place][step]},)
        step += 1
