"""`HalfCheetah`: rewards from the velocity, and what is missing without gymnasium."""

import importlib

import numpy as np
import pytest

from keras_univrep.reinforcement import HalfCheetah


@pytest.mark.parametrize("goal", ["velocity", "direction"])
def test_rewards_come_from_the_velocity_and_the_goal(goal: str) -> None:
    pytest.importorskip("gymnasium")
    pytest.importorskip("mujoco")
    rng = np.random.default_rng(0)
    world = HalfCheetah(goal, horizon=3, action_cost=0.1)
    drawn = world.sample_goals(50, rng)
    if goal == "velocity":
        assert drawn.min() >= 0.0 and 1.5 < drawn.max() <= 2.0
    else:
        assert set(drawn.ravel()) == {-1.0, 1.0}
    goals = np.array([[0.5], [-1.0]])
    first = world.reset(goals, 2, rng)
    assert first.shape == (2, 2, 17)
    before = [one.unwrapped.data.qpos[0] for one in world._worlds]
    actions = rng.normal(size=(2, 2, 6))
    following, rewards, done = world.step(actions)
    assert following.shape == (2, 2, 17) and not done.any()
    after = [one.unwrapped.data.qpos[0] for one in world._worlds]
    speeds = np.reshape((np.array(after) - before) / world._worlds[0].unwrapped.dt, (2, 2))
    cost = 0.1 * (np.clip(actions, -1.0, 1.0) ** 2).sum(-1)
    wanted = -np.abs(speeds - goals) if goal == "velocity" else goals * speeds
    np.testing.assert_allclose(rewards, wanted - cost, rtol=1e-5, atol=1e-6)
    again = HalfCheetah(goal, horizon=3)
    np.testing.assert_array_equal(again.reset(goals, 2, np.random.default_rng(5)),
                                  world.reset(goals, 2, np.random.default_rng(5)))  # fmt: skip


def test_without_gymnasium_the_error_names_the_extra(monkeypatch) -> None:
    def missing(name, *_):
        raise ImportError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"keras_univrep\[rl\]"):
        HalfCheetah()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`goal` must be one of"):
        HalfCheetah("speed")
    with pytest.raises(ValueError, match="`action_cost` must not be negative"):
        HalfCheetah(action_cost=-1.0)
