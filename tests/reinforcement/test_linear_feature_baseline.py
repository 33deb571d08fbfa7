"""`LinearFeatureBaseline` against values that are linear in its features."""

import numpy as np
import pytest

from keras_univrep.reinforcement import LinearFeatureBaseline, Trajectories, discounted_returns

RNG = np.random.default_rng(0)


def trajectories(tasks: int = 2, steps: int = 6) -> Trajectories:
    observations = RNG.normal(size=(tasks, 8, steps, 2))
    # Without discount of the future the return is the reward: here a function of the state.
    rewards = 3.0 * observations[..., 0] - observations[..., 1] ** 2 + 0.5
    rewards = rewards * np.arange(1, tasks + 1)[:, None, None]
    alive = np.ones(rewards.shape, bool)
    return Trajectories(observations, observations, rewards, alive)


def test_values_that_are_linear_in_the_features_are_found_for_each_task() -> None:
    seen = trajectories()
    baseline = LinearFeatureBaseline(ridge=1e-9).fit(seen, discount=0.0)
    np.testing.assert_allclose(baseline.predict(seen), seen.rewards, atol=1e-5)
    assert baseline.weights.shape == (2, 2 * 2 + 4)


def test_weights_solve_the_penalised_least_squares() -> None:
    seen = trajectories(tasks=1)
    baseline = LinearFeatureBaseline(ridge=0.1).fit(seen, discount=0.9)
    states = seen.observations[0].reshape(-1, 2)
    times = np.tile(np.arange(6) / 100.0, 8)[:, None]
    ones = np.ones_like(times)
    features = np.concatenate([states, states**2, times, times**2, times**3, ones], axis=1)
    targets = discounted_returns(seen.rewards, 0.9).reshape(-1)
    stacked = np.concatenate([features, np.sqrt(0.1) * np.eye(8)])
    wanted, *_ = np.linalg.lstsq(stacked, np.concatenate([targets, np.zeros(8)]), rcond=None)
    np.testing.assert_allclose(baseline.weights[0], wanted, rtol=1e-6)


def test_steps_after_the_end_do_not_count() -> None:
    seen = trajectories()
    alive = seen.alive.copy()
    alive[:, :, 4:] = False
    rewards = np.where(alive, seen.rewards, 0.0)
    ended = seen._replace(alive=alive, rewards=rewards)
    states = seen.observations.copy()
    states[:, :, 4:] = 7.0
    one = LinearFeatureBaseline().fit(ended).weights
    other = LinearFeatureBaseline().fit(ended._replace(observations=states)).weights
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`ridge` must be positive"):
        LinearFeatureBaseline(0.0)
    with pytest.raises(ValueError, match="`fit` must be called before"):
        LinearFeatureBaseline().predict(trajectories())
