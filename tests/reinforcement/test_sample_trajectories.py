"""`sample_trajectories`: what is kept, what ends, and environments that fail."""

import numpy as np
import pytest

from keras_univrep.reinforcement import Environment, sample_trajectories


class Counter(Environment):
    """Observes the step, pays the first number of the action, and ends a rollout at its goal."""

    def __init__(self, fault: str | None = None) -> None:
        super().__init__(1, 2, 4)
        self.fault = fault

    def sample_goals(self, count, rng):
        return np.arange(1, count + 1)

    def reset(self, goals, rollouts, rng):
        self.goals, self.time, self.rollouts = np.asarray(goals), 0, rollouts
        return np.zeros((len(goals), rollouts, 1))

    def step(self, actions):
        self.time += 1
        if self.fault == "raises" and self.time == 2:
            raise KeyError("broken")
        shape = (len(self.goals), self.rollouts)
        observations = np.full((*shape, 1), float(self.time))
        if self.fault == "nan":
            observations[0] = np.nan
        if self.fault == "shape":
            observations = observations[..., 0]
        ended = np.broadcast_to(self.time >= self.goals[:, None], shape)
        return observations, actions[..., 0], ended


def sure(value: float):
    """A policy of this mean, nearly without spread."""

    def policy(observations):
        said = np.full((*observations.shape[:2], 4), value)
        said[..., 2:] = -20.0
        return said

    return policy


def run(fault=None, policy=None, rollouts=3):
    rng = np.random.default_rng(0)
    return sample_trajectories(Counter(fault), np.array([1, 3]), policy or sure(2.0), rollouts, rng)


def test_each_rollout_is_kept_until_its_end() -> None:
    found = run()
    assert found.actions.shape == (2, 3, 4, 2)
    np.testing.assert_array_equal(found.alive[0], np.tile([1, 0, 0, 0], (3, 1)).astype(bool))
    np.testing.assert_array_equal(found.alive[1], np.tile([1, 1, 1, 0], (3, 1)).astype(bool))
    np.testing.assert_allclose(found.rewards.sum(-1), [[2.0] * 3, [6.0] * 3], rtol=1e-6)
    np.testing.assert_array_equal(found.observations[1, 0, :3, 0], [0.0, 1.0, 2.0])


def test_actions_are_drawn_from_the_policy() -> None:
    def policy(observations):
        means = np.broadcast_to([1.0, -1.0], (*observations.shape[:2], 2))
        return np.concatenate([means, np.full_like(means, np.log(0.5))], axis=-1)

    drawn = run(policy=policy, rollouts=4000).actions[1, :, 0]
    np.testing.assert_allclose(drawn.mean(0), [1.0, -1.0], atol=0.05)
    np.testing.assert_allclose(drawn.std(0), 0.5, atol=0.03)
    again = run(policy=policy, rollouts=4000).actions[1, :, 0]
    np.testing.assert_array_equal(drawn, again)


def test_an_environment_that_fails_says_where() -> None:
    with pytest.raises(RuntimeError, match=r"KeyError: 'broken', by Counter.step before step 2"):
        run("raises")
    with pytest.raises(RuntimeError, match="must return finite numbers"):
        run("nan")
    with pytest.raises(RuntimeError, match="must return arrays of shapes"):
        run("shape")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`rollouts` must be positive"):
        run(rollouts=0)
    with pytest.raises(ValueError, match=r"End its network with GaussianHead\(2\)"):
        run(policy=lambda observations: observations)
    with pytest.raises(NotImplementedError, match="must define `step"):
        Environment(1, 1, 1).step(np.zeros((1, 1, 1)))
