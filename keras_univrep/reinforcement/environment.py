"""What an environment of many tasks offers."""

import numpy as np


class Environment:
    """Base of environments that run the rollouts of many tasks at once, in NumPy.

    A leaf implements `sample_goals`, `reset` and `step`. A task is a goal; the rollouts of all
    tasks take their steps together. What a leaf has drawn or kept between `reset` and `step` is its
    own affair.

    Args:
        observation_size: Numbers of an observation.
        action_size: Numbers of an action.
        horizon: Most steps of a rollout.

    Raises:
        ValueError: If one of them is not positive.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.reinforcement import Environment
        >>> class Bandit(Environment):
        ...     def sample_goals(self, count, rng):
        ...         return rng.normal(size=(count, 1))
        ...     def reset(self, goals, rollouts, rng):
        ...         self.goals = goals[:, None]
        ...         return np.zeros((len(goals), rollouts, 1))
        ...     def step(self, actions):
        ...         rewards = -((actions - self.goals) ** 2).sum(-1)
        ...         return np.zeros_like(actions), rewards, np.ones(rewards.shape, bool)
        >>> bandit = Bandit(observation_size=1, action_size=1, horizon=1)
        >>> bandit.reset(bandit.sample_goals(2, np.random.default_rng(0)), 3, None).shape
        (2, 3, 1)
    """

    def __init__(self, observation_size: int, action_size: int, horizon: int) -> None:
        sizes = {
            "observation_size": observation_size,
            "action_size": action_size,
            "horizon": horizon,
        }
        for name, size in sizes.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={size!r}. Pass, for "
                    "example, 100 steps of a rollout."
                )
        self.observation_size = observation_size
        self.action_size = action_size
        self.horizon = horizon

    def sample_goals(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draws tasks.

        Args:
            count: How many.
            rng: Where the draws come from.

        Returns:
            Goals, (count, ...).
        """
        raise NotImplementedError(_missing(self, "sample_goals(count, rng)"))

    def reset(self, goals: np.ndarray, rollouts: int, rng: np.random.Generator) -> np.ndarray:
        """Begins rollouts of each task.

        Args:
            goals: (tasks, ...).
            rollouts: Rollouts of each task.
            rng: Where what is random comes from.

        Returns:
            First observations, (tasks, rollouts, observation_size).
        """
        raise NotImplementedError(_missing(self, "reset(goals, rollouts, rng)"))

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Takes a step of every rollout; of one that has ended the results are not looked at.

        Args:
            actions: (tasks, rollouts, action_size).

        Returns:
            Next observations (tasks, rollouts, observation_size), rewards (tasks, rollouts), and
            whether a rollout ended by this step, booleans (tasks, rollouts).
        """
        raise NotImplementedError(_missing(self, "step(actions)"))


def _missing(environment: Environment, method: str) -> str:
    return (
        f"A leaf of `Environment` must define `{method}`. Received: class "
        f"{type(environment).__name__} without it."
    )
