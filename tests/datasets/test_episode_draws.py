"""Draws without replacement are uniform, whatever their route."""

import collections
import itertools
import math

import numpy as np
import pytest

from keras_univrep.datasets import episode_draws
from keras_univrep.datasets.episode_draws import draw_from_each, draw_rows


def check_uniform(found: list[tuple[int, ...]], size: int, count: int) -> None:
    """Chi-square over every ordered choice."""
    cells = list(itertools.permutations(range(size), count))
    outcomes = collections.Counter(found)
    assert set(outcomes) == set(cells)
    expected = len(found) / len(cells)
    chi_square = sum((n - expected) ** 2 / expected for n in outcomes.values())
    freedom = len(cells) - 1
    assert chi_square < freedom + 4.5 * math.sqrt(2 * freedom)


@pytest.mark.parametrize(("size", "count"), [(2, 1), (2, 2), (4, 3), (5, 2), (6, 3)])
def test_rows_are_uniform_ordered_choices(size: int, count: int) -> None:
    sizes = np.full(20000, size)
    sizes[1::2] = size + 3
    rows = draw_rows(np.random.default_rng(0), sizes, count)
    check_uniform([tuple(row) for row in rows[::2].tolist()], size, count)
    check_uniform([tuple(row) for row in rows[1::2].tolist()], size + 3, count)


@pytest.mark.parametrize("limit", [0, 300])
def test_draws_from_each_are_uniform_ordered_choices(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(episode_draws, "_LARGE", limit)
    rng = np.random.default_rng(0)
    found: list[list[tuple[int, ...]]] = [[], [], []]
    for _ in range(4000):
        drawn, ranks = draw_from_each(rng, np.array([4, 2, 5]), np.array([2, 2, 1]))
        assert ranks.tolist() == [0, 1, 0, 1, 0]
        for own, part in zip(found, (drawn[:2], drawn[2:4], drawn[4:]), strict=True):
            own.append(tuple(part.tolist()))
    for own, size, count in zip(found, (4, 2, 5), (2, 2, 1), strict=True):
        check_uniform(own, size, count)
