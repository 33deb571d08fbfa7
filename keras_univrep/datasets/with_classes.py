"""Some classes of a domain, for studies of what a network was trained on."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from keras_univrep.datasets.domain import Arrays, Domain
from keras_univrep.datasets.lazy_splits import LazySplits


def with_classes(domain: Domain, classes: Sequence[str | int], name: str | None = None) -> Domain:
    """Keeps the images of some classes, in every split.

    Args:
        domain: The `Domain`.
        classes: Names or labels of the classes to keep, each once; they are numbered anew in this
            order.
        name: Name of the new domain; None for that of `domain`.

    Returns:
        A `Domain` with the mean and deviation of `domain`. Its images are read when they are first
        asked for.

    Raises:
        ValueError: If a class is unknown or comes twice, or none is given.

    Example:

    >>> from keras_univrep.datasets import load_domain
    >>> water = with_classes(load_domain("eurosat"), ["SeaLake", "River"], name="water")
    >>> water.class_names, water.size("train")
    (('SeaLake', 'River'), 160)
    """
    known = {label: label for label in range(domain.num_classes)}
    by_name = {class_name: label for label, class_name in enumerate(domain.class_names)}
    labels = [by_name.get(c) if isinstance(c, str) else known.get(int(c)) for c in classes]
    if not labels or None in labels or len(set(labels)) < len(labels):
        raise ValueError(
            f"`classes` must hold at least one of the {domain.num_classes} classes of domain "
            f"'{domain.name}' and none twice. Received: classes={list(classes)}. Pass names out "
            "of `domain.class_names`, or labels."
        )
    old = np.array(labels, "int64")

    def reduced(split: str) -> Arrays:
        images, found = domain.arrays(split)
        new = np.full(domain.num_classes, -1, "int32")
        new[old] = np.arange(len(old))
        kept = np.flatnonzero(new[found] >= 0)
        return images[kept], new[found[kept]]

    return dataclasses.replace(
        domain,
        name=domain.name if name is None else name,
        num_classes=len(old),
        class_names=tuple(domain.class_names[label] for label in old),
        splits=LazySplits({split: functools.partial(reduced, split) for split in domain.splits}),
    )
