"""`adapted_returns`: steps raise the return of a task, and nothing stays in the network."""

import keras
import numpy as np

from keras_univrep.models import TaskNetworks
from keras_univrep.reinforcement import (
    Environment,
    GaussianHead,
    PolicyGradientLoss,
    adapted_returns,
)
from tests.harness import bits


class Bandit(Environment):
    """One step; pays for an action near the goal."""

    def __init__(self) -> None:
        super().__init__(1, 1, 1)

    def sample_goals(self, count, rng):
        return rng.uniform(-1.0, 1.0, (count, 1))

    def reset(self, goals, rollouts, rng):
        self.goals = np.asarray(goals)[:, None]
        return np.ones((len(goals), rollouts, 1))

    def step(self, actions):
        rewards = -((actions - self.goals) ** 2).sum(-1)
        return np.ones_like(actions), rewards, np.ones(rewards.shape, bool)


def test_each_task_comes_nearer_to_its_goal() -> None:
    keras.utils.set_random_seed(0)
    policy = keras.Sequential([keras.Input((1,)), GaussianHead(1, initial_std=0.5)])
    before = bits(policy)
    networks = TaskNetworks(policy, 0.1, PolicyGradientLoss())
    goals = [[2.0], [-2.0]]
    returns = adapted_returns(networks, Bandit(), goals, steps=6, rollouts=200, seed=1)
    assert returns.shape == (7, 2)
    assert np.all(returns[-1] > returns[0])
    again = adapted_returns(networks, Bandit(), goals, steps=6, rollouts=200, seed=1)
    np.testing.assert_allclose(returns, again, rtol=1e-5)
    after = bits(policy)
    assert all(np.array_equal(before[path], after[path]) for path in before)
