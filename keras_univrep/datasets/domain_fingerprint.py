"""Tells one state of a domain's data from another."""

import hashlib

import numpy as np

from keras_univrep.datasets.domain import Domain

_BLOCK = 4096


def domain_fingerprint(domain: Domain, split: str, limit: int | None = None) -> str:
    """Names what a network sees of a split, for results that are kept and not computed again.

    Args:
        domain: The `Domain`.
        split: Name of a split.
        limit: At most this many images, spread evenly over the split, are read; None for all.
            Labels are read whole.

    Returns:
        16 hexadecimal digits, which change with the name of the domain, its classes, its
        normalisation, the labels, and the images (with a limit: their number and those read).

    Raises:
        ValueError: If the domain has no such split, or `limit` is below 1.

    Example:

    >>> from keras_univrep.datasets import domain_fingerprint, load_domain, subset
    >>> domain = load_domain("eurosat")
    >>> fewer = subset(domain, fraction=0.5)
    >>> domain_fingerprint(domain, "train") == domain_fingerprint(fewer, "train")
    False
    """
    if limit is not None and limit < 1:
        raise ValueError(
            f"`limit` must be None or at least 1. Received: limit={limit}. Pass, for example, 1000."
        )
    images, labels = domain.arrays(split)
    facts = (domain.name, domain.class_names, images.shape, domain.mean, domain.std, split)
    found = hashlib.sha256(repr(facts).encode())
    found.update(labels.tobytes())
    count = len(images) if limit is None else min(len(images), limit)
    chosen = np.linspace(0, len(images) - 1, count).round().astype("int64")
    for start in range(0, count, _BLOCK):
        found.update(images[chosen[start : start + _BLOCK]].tobytes())
    return found.hexdigest()[:16]
