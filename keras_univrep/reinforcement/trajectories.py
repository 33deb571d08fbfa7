"""What policies did in an environment."""

from typing import NamedTuple

import numpy as np


class Trajectories(NamedTuple):
    """Steps of several rollouts of each task, as NumPy arrays.

    Args:
        observations: Before each step, (tasks, rollouts, horizon, observation_size).
        actions: (tasks, rollouts, horizon, action_size).
        rewards: (tasks, rollouts, horizon), 0 after the end of a rollout.
        alive: Whether the step was taken before the end, booleans (tasks, rollouts, horizon).

    Example:
        >>> import numpy as np
        >>> from keras_univrep.reinforcement import Trajectories
        >>> steps = np.zeros((1, 2, 3, 1))
        >>> found = Trajectories(steps, steps, np.ones((1, 2, 3)), np.ones((1, 2, 3), bool))
        >>> found.rewards.sum(axis=-1).tolist()
        [[3.0, 3.0]]
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    alive: np.ndarray
