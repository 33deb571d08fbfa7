"""A point that moves to a goal in the plane."""

import numpy as np

from keras_univrep.reinforcement.environment import Environment

# Half a side of the square of goals, and the largest move, both in units of the plane.
REACH, MOVE = 0.5, 0.1


class Navigation2D(Environment):
    """A point starts in the middle of the unit square and is to go to a goal that it cannot see.

    Equation:
        shu2021, section 6.3, for the position x, the action a and the goal g, drawn uniformly:

            x' = x + 0.1 clip(a, -1, 1),   r = -|x' - g|^2,   ends where |x' - g| < 0.01

    Differences: The paper clips actions to [-0.1, 0.1]. Here they are clipped to [-1, 1] and scaled
        by 0.1, so that a policy whose actions have a standard deviation of 1 explores.

    Args:
        horizon: Most steps of a rollout.
        tolerance: The distance from the goal that ends a rollout.

    Raises:
        ValueError: If `horizon` is not positive, or `tolerance` negative.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.reinforcement import Navigation2D
        >>> plane = Navigation2D()
        >>> start = plane.reset(np.array([[0.3, 0.0]]), 1, np.random.default_rng(0))
        >>> position, reward, done = plane.step(np.array([[[5.0, 0.0]]]))
        >>> position.round(2).tolist(), reward.round(2).tolist(), done.tolist()
        ([[[0.1, 0.0]]], [[-0.04]], [[False]])

    References:
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
        - Finn, Abbeel, Levine. Model-agnostic meta-learning for fast adaptation of deep networks.
          2017.
    """

    def __init__(self, horizon: int = 100, tolerance: float = 0.01) -> None:
        super().__init__(2, 2, horizon)
        if not tolerance >= 0:
            raise ValueError(
                f"`tolerance` must not be negative. Received: tolerance={tolerance}. Pass 0.01."
            )
        self.tolerance = float(tolerance)

    def sample_goals(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draws goals of the unit square around the start.

        Args:
            count: How many.
            rng: Where the draws come from.

        Returns:
            (count, 2), each number in [-0.5, 0.5].
        """
        return rng.uniform(-REACH, REACH, (count, 2))

    def reset(self, goals: np.ndarray, rollouts: int, rng: np.random.Generator) -> np.ndarray:
        """Puts all points into the middle.

        Args:
            goals: (tasks, 2).
            rollouts: Rollouts of each task.
            rng: Not looked at: nothing is random.

        Returns:
            Zeros, (tasks, rollouts, 2).
        """
        self._goals = np.asarray(goals, "float64")[:, None]
        self._positions = np.zeros((len(goals), rollouts, 2))
        return self._positions.copy()

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Moves all points.

        Args:
            actions: (tasks, rollouts, 2).

        Returns:
            Positions (tasks, rollouts, 2), rewards and whether the goal was reached, (tasks,
            rollouts).
        """
        self._positions = self._positions + MOVE * np.clip(actions, -1.0, 1.0)
        squares = ((self._positions - self._goals) ** 2).sum(axis=-1)
        return self._positions.copy(), -squares, squares < self.tolerance**2  # shu2021 sec. 6.3
