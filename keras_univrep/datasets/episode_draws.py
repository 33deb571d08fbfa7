"""Draws without replacement from many populations at once, in NumPy."""

import numpy as np

# Above so many members of a population, on average, a key for every member costs more than a call
# for every population.
_LARGE = 300


def draw_rows(rng: np.random.Generator, sizes: np.ndarray, count: int) -> np.ndarray:
    """Draws equally many from each population, by Floyd's algorithm on all rows at once.

    The cost does not depend on the sizes.

    Args:
        rng: The generator.
        sizes: Members of each population, (n,), at least `count`.
        count: Members to draw from each.

    Returns:
        Different integers in [0, size), in random order, (n, count) of an integer type.
    """
    tops = (sizes - count + np.arange(count)[:, None]).astype("uint64")
    bits = rng.integers(0, 2**64, tops.shape, dtype="uint64")
    # The upper half of a draw makes a number in [0, top], each equally likely to 2**-32 times the
    # size; the lower half its place in the order.
    drawn = ((bits >> 32) * (tops + 1) >> 32).astype("uint32")
    tops = tops.astype("uint32")
    for i in range(1, count):
        seen = (drawn[:i] == drawn[i]).any(axis=0)
        np.copyto(drawn[i], tops[i], where=seen)
    # The set is uniform, its order is not: sort by the lower halves, with the members behind them.
    bits <<= 32
    bits |= drawn
    return np.sort(bits.T, axis=1).astype("int32")


def draw_from_each(
    rng: np.random.Generator, sizes: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a number of its own from each population.

    Args:
        rng: The generator.
        sizes: Members of each population, (n,).
        counts: Members to draw from each, (n,), at most `sizes`.

    Returns:
        Different integers in [0, size), in random order, population by population, and the place of
        each among those of its population: integers (sum of counts,) both.
    """
    ranks = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    if sizes.sum() > _LARGE * len(sizes):
        drawn = [rng.choice(size, count, replace=False) for size, count in zip(sizes, counts)]
        return np.concatenate(drawn), ranks
    # Sorting by random keys shuffles every population; its number in front keeps them apart.
    number = np.repeat(np.arange(len(sizes)), sizes)
    order = np.argsort(rng.random(len(number)) + number)
    starts = np.cumsum(sizes) - sizes
    first = np.repeat(starts, counts)
    return order[first + ranks] - first, ranks
