"""A two-legged runner with a velocity or a direction to run in."""

import importlib
from typing import Any

import numpy as np

from keras_univrep.reinforcement.environment import Environment

FASTEST = 2.0
GOALS = ("velocity", "direction")
OBSERVATIONS, ACTIONS = 17, 6


class HalfCheetah(Environment):
    """Gymnasium's HalfCheetah in MuJoCo, to run at a velocity or in a direction.

    Equation:
        shu2021, section 6.3, for the velocity v along x, in metres per second:

            "velocity":   r = -|v - g| - cost |a|^2,   g uniform in [0, 2]
            "direction":  r =  g v - cost |a|^2,       g in {-1, 1}

    Differences: The paper names no cost of actions; it is 0 unless `action_cost` is given.

    Args:
        goal: `"velocity"` or `"direction"`.
        horizon: Steps of a rollout.
        action_cost: Factor of the squared actions, not negative.

    Raises:
        ImportError: If gymnasium or MuJoCo is not installed.
        ValueError: If an argument is none of the above.

    Example:
        >>> from keras_univrep.reinforcement import HalfCheetah
        >>> try:
        ...     HalfCheetah(goal="speed")
        ... except ValueError as error:
        ...     print(str(error)[:48])
        `goal` must be one of ['velocity', 'direction'].

    References:
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
        - Todorov, Erez, Tassa. MuJoCo: a physics engine for model-based control. 2012.
    """

    def __init__(
        self, goal: str = "velocity", horizon: int = 200, action_cost: float = 0.0
    ) -> None:
        super().__init__(OBSERVATIONS, ACTIONS, horizon)
        if goal not in GOALS:
            raise ValueError(f"`goal` must be one of {list(GOALS)}. Received: goal={goal!r}.")
        if not action_cost >= 0:
            raise ValueError(
                f"`action_cost` must not be negative. Received: action_cost={action_cost}. Pass 0."
            )
        self.goal = goal
        self.action_cost = float(action_cost)
        self._gymnasium = _gymnasium()
        self._worlds: list[Any] = []

    def sample_goals(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draws velocities or directions.

        Args:
            count: How many.
            rng: Where the draws come from.

        Returns:
            (count, 1).
        """
        if self.goal == "velocity":
            return rng.uniform(0.0, FASTEST, (count, 1))
        return rng.choice([-1.0, 1.0], (count, 1))

    def reset(self, goals: np.ndarray, rollouts: int, rng: np.random.Generator) -> np.ndarray:
        """Puts all runners near the start, each at rest up to some noise.

        Args:
            goals: (tasks, 1).
            rollouts: Rollouts of each task.
            rng: Where the seeds come from.

        Returns:
            Observations, (tasks, rollouts, 17).
        """
        self._goals = np.asarray(goals, "float64").reshape(-1, 1)
        self._shape = (len(goals), rollouts)
        count = len(goals) * rollouts
        while len(self._worlds) < count:
            self._worlds.append(self._gymnasium.make("HalfCheetah-v5", max_episode_steps=-1))
        seeds = rng.integers(0, 2**31, count)
        found = [
            world.reset(seed=int(seed))[0]
            for world, seed in zip(self._worlds, seeds)  # noqa: B905
        ]
        return np.reshape(found, (*self._shape, OBSERVATIONS))

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Moves all runners.

        Args:
            actions: (tasks, rollouts, 6), clipped to [-1, 1].

        Returns:
            Observations (tasks, rollouts, 17), rewards (tasks, rollouts), and False everywhere.
        """
        actions = np.clip(actions, -1.0, 1.0)
        observations, speeds = [], []
        for world, action in zip(self._worlds, actions.reshape(-1, ACTIONS)):  # noqa: B905
            observation, _, _, _, seen = world.step(action)
            observations.append(observation)
            speeds.append(seen["x_velocity"])
        velocities = np.reshape(speeds, self._shape)
        if self.goal == "velocity":
            rewards = -np.abs(velocities - self._goals)  # shu2021 sec. 6.3
        else:
            rewards = self._goals * velocities  # shu2021 sec. 6.3
        rewards = rewards - self.action_cost * (actions**2).sum(axis=-1)
        found = np.reshape(observations, (*self._shape, OBSERVATIONS))
        return found, rewards, np.zeros(self._shape, bool)


def _gymnasium() -> Any:
    try:
        importlib.import_module("mujoco")
        return importlib.import_module("gymnasium")
    except ImportError as error:
        raise ImportError(
            "HalfCheetah runs in gymnasium with MuJoCo. Received: "
            f"no module {error.name!r}. Install them by `pip install 'keras_univrep[rl]'`."
        ) from error
