"""Fewer images of a domain, for studies of how much data a transfer needs."""

import dataclasses
import functools

import numpy as np

from keras_univrep.datasets.domain import Arrays, Domain
from keras_univrep.datasets.lazy_splits import LazySplits


def subset(
    domain: Domain,
    split: str = "train",
    fraction: float | None = None,
    per_class: int | None = None,
    seed: int = 0,
) -> Domain:
    """Keeps a part of each class in one split of a domain.

    The part depends on the seed alone, and a smaller part lies within a larger one of the same
    seed. Images keep their order. Other splits, mean and deviation stay as they are, so that
    trainings on parts of different sizes see the same validation images, normalised alike.

    Args:
        domain: The `Domain`.
        split: Name of the split to reduce.
        fraction: Share of each class to keep, in (0, 1], rounded to at least one image.
        per_class: Images of each class to keep, at least 1; a class with fewer keeps all of them.
            Give this or `fraction`.
        seed: Integer from 0.

    Returns:
        A `Domain` of the same name. Its images are read when they are first asked for.

    Raises:
        ValueError: If the split is unknown, a number is out of range, or not exactly one of
            `fraction` and `per_class` is given.

    Example:

    >>> from keras_univrep.datasets import load_domain
    >>> domain = load_domain("eurosat")
    >>> tenth = subset(domain, fraction=0.1)
    >>> [(d.size("train"), d.size("test")) for d in (domain, tenth, subset(domain, per_class=1))]
    [(800, 300), (80, 300), (10, 300)]
    """
    if split not in domain.splits:
        raise ValueError(
            f"`split` must be a split of domain '{domain.name}': {sorted(domain.splits)}. "
            f"Received: split={split!r}. Pass one of these."
        )
    if (fraction is None) == (per_class is None):
        raise ValueError(
            "Exactly one of `fraction` and `per_class` must be given. Received: "
            f"fraction={fraction}, per_class={per_class}. Pass, for example, `fraction=0.1`."
        )
    if fraction is not None and not 0 < fraction <= 1:
        raise ValueError(
            f"`fraction` must be in (0, 1]. Received: fraction={fraction}. Pass 0.1 for a tenth."
        )
    if per_class is not None and per_class < 1:
        raise ValueError(
            f"`per_class` must be at least 1. Received: per_class={per_class}. Pass, for example, "
            "10."
        )
    if seed < 0:
        raise ValueError(
            f"`seed` must be at least 0. Received: seed={seed}. Pass an integer from 0."
        )

    def reduced() -> Arrays:
        images, labels = domain.arrays(split)
        kept = []
        for label in np.unique(labels):
            group = np.flatnonzero(labels == label)
            count = per_class if fraction is None else max(1, round(fraction * len(group)))
            order = np.random.default_rng((seed, int(label))).permutation(len(group))
            kept.append(group[order[:count]])
        indices = np.sort(np.concatenate(kept))
        return images[indices], labels[indices]

    readers = {name: functools.partial(domain.arrays, name) for name in domain.splits}
    return dataclasses.replace(domain, splits=LazySplits(readers | {split: reduced}))
