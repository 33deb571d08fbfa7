"""`hold_out` keeps groups whole and reaches the number asked for."""

import numpy as np
import pytest

from keras_univrep.datasets.hold_out import hold_out, runs


def test_runs_break_where_numbers_are_missing() -> None:
    assert runs(np.array([3, 4, 5, 7, 9, 10])).tolist() == [0, 0, 0, 1, 2, 2]


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_whole_and_the_count_is_met(seed: int) -> None:
    groups = np.repeat(np.arange(40), np.random.default_rng(1).integers(1, 7, 40))
    held = hold_out(groups, 50, seed)
    assert held.sum() == 50
    assert not set(groups[held]) & set(groups[~held])
    np.testing.assert_array_equal(held, hold_out(groups, 50, seed))


def test_another_seed_holds_out_others() -> None:
    groups = np.arange(50)
    assert hold_out(groups, 10, 0).tolist() != hold_out(groups, 10, 1).tolist()


def test_groups_that_are_too_large_stay() -> None:
    assert not hold_out(np.zeros(5, int), 4).any()
    assert not hold_out(np.arange(5), 0).any()


@pytest.mark.parametrize("count", [-1, 5])
def test_counts_out_of_range_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="`count` must be at least 0 and below"):
        hold_out(np.arange(5), count)
