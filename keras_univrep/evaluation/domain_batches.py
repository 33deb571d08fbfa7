"""Normalised images of a split, in order."""

from collections.abc import Iterator

import numpy as np

from keras_univrep.datasets import Domain


def domain_batches(
    domain: Domain, split: str, batch_size: int, limit: int | None = None
) -> Iterator[np.ndarray]:
    """Yields the images of a split in order, normalised and not augmented.

    Args:
        domain: The domain.
        split: Name of the split.
        batch_size: Images of a batch; the last one may be smaller.
        limit: At most this many images, spread evenly over the split; `None` for all.

    Yields:
        Images of shape (batch, height, width, channels), float32, mean 0 and deviation 1 over the
        training split.
    """
    images = domain.arrays(split)[0]
    if limit is not None:
        images = images[spread(len(images), limit)]
    for start in range(0, len(images), batch_size):
        yield domain.normalize(images[start : start + batch_size])


def spread(size: int, limit: int) -> np.ndarray:
    """Returns `limit` indices (or all) spread evenly over `size`, int64."""
    return np.unique(np.linspace(0, size - 1, min(size, limit)).round().astype("int64"))
