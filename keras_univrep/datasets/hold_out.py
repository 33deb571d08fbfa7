"""Divides a set so that what belongs together stays together."""

import numpy as np


def hold_out(groups: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Chooses whole groups of images that together have `count` images, or nearly so many.

    Groups are taken in a random order; one that would exceed `count` is left where it is.

    Args:
        groups: Number of the group of each image, integers (n,).
        count: Images to hold out, from 0 to n - 1.
        seed: Integer from 0.

    Returns:
        Whether each image is held out, bool (n,).

    Raises:
        ValueError: If `count` is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets.hold_out import hold_out
    >>> hold_out(np.array([0, 0, 1, 1, 1, 2]), 3).tolist()
    [True, True, False, False, False, True]
    """
    groups = np.asarray(groups)
    if not 0 <= count < len(groups):
        raise ValueError(
            f"`count` must be at least 0 and below the number of images, {len(groups)}. Received: "
            f"count={count}. Pass a smaller number."
        )
    numbers, sizes = np.unique(groups, return_counts=True)
    held, left = [], count
    for position in np.random.default_rng(seed).permutation(len(numbers)):
        if sizes[position] <= left:
            held.append(numbers[position])
            left -= sizes[position]
    return np.isin(groups, held)


def runs(numbers: np.ndarray) -> np.ndarray:
    """Numbers the runs of consecutive integers in a sorted array: int64 (n,)."""
    return np.cumsum(np.diff(numbers, prepend=numbers[:1]) > 1)
