"""`discounted_returns` against the sum of its definition."""

import numpy as np
import pytest

from keras_univrep.reinforcement import discounted_returns


def test_returns_are_the_discounted_sums_of_what_follows() -> None:
    rewards = np.random.default_rng(0).normal(size=(2, 3, 6))
    wanted = np.zeros_like(rewards)
    for step in range(6):
        for later in range(step, 6):
            wanted[..., step] += 0.9 ** (later - step) * rewards[..., later]
    np.testing.assert_allclose(discounted_returns(rewards, 0.9), wanted, rtol=1e-12)
    np.testing.assert_array_equal(discounted_returns(rewards, 0.0), rewards)


def test_discounts_above_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`discount` must be in \[0, 1\]"):
        discounted_returns(np.zeros(3), 1.5)
