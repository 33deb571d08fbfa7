"""`Navigation2D` against its rules, point by point."""

import numpy as np
import pytest

from keras_univrep.reinforcement import Navigation2D


def test_points_move_by_clipped_actions_and_are_paid_by_distance() -> None:
    rng = np.random.default_rng(0)
    plane = Navigation2D()
    assert (plane.observation_size, plane.action_size, plane.horizon) == (2, 2, 100)
    goals = plane.sample_goals(3, rng)
    assert goals.shape == (3, 2) and np.abs(goals).max() <= 0.5
    now = plane.reset(goals, 2, rng)
    assert np.all(now == 0.0)
    wanted = np.zeros((3, 2, 2))
    for _ in range(4):
        actions = rng.normal(size=(3, 2, 2))
        now, rewards, done = plane.step(actions)
        for task in range(3):
            for rollout in range(2):
                move = np.clip(actions[task, rollout], -1.0, 1.0) / 10.0
                wanted[task, rollout] += move
                distance = np.linalg.norm(wanted[task, rollout] - goals[task])
                np.testing.assert_allclose(rewards[task, rollout], -(distance**2))
                assert done[task, rollout] == (distance < 0.01)
        np.testing.assert_allclose(now, wanted)


def test_it_ends_within_a_hundredth_of_the_goal() -> None:
    plane = Navigation2D()
    plane.reset(np.array([[0.1, 0.0], [0.1, 0.02]]), 1, None)
    _, _, done = plane.step(np.broadcast_to([1.0, 0.0], (2, 1, 2)))
    assert done.tolist() == [[True], [False]]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`horizon` must be a positive integer"):
        Navigation2D(0)
    with pytest.raises(ValueError, match="`tolerance` must not be negative"):
        Navigation2D(tolerance=-1.0)
