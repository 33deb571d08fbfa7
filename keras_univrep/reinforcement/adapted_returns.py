"""How the return in new tasks changes with the gradient steps taken in them."""

import numpy as np

from keras_univrep.models import TaskNetworks
from keras_univrep.reinforcement.environment import Environment
from keras_univrep.reinforcement.policy_samples import policy_samples
from keras_univrep.reinforcement.sample_trajectories import Policy, sample_trajectories


def adapted_returns(
    networks: TaskNetworks,
    environment: Environment,
    goals: np.ndarray,
    steps: int = 4,
    rollouts: int = 20,
    discount: float = 0.99,
    seed: int = 0,
) -> np.ndarray:
    """Fine-tunes a policy on rollouts of each task, and measures the return as it goes.

    Equation:
        shu2021, section 6.3: before each gradient step, and after the last, `rollouts` rollouts of
        the policy of the moment; their mean sum of rewards is the return, and the step is on them.

    Args:
        networks: Of a network that ends with a `GaussianHead`, with a `PolicyGradientLoss`.
        environment: Where.
        goals: Tasks, (tasks, ...).
        steps: Gradient steps, from 0 on.
        rollouts: Rollouts of each task before each step.
        discount: Of the advantages, in [0, 1]; returns are not discounted.
        seed: Of actions and environment.

    Returns:
        Float64 array (steps + 1, tasks) of mean returns.

    Raises:
        RuntimeError: As `sample_trajectories`.

    Example:
        >>> import keras
        >>> from keras_univrep.models import TaskNetworks
        >>> from keras_univrep.reinforcement import *
        >>> policy = keras.Sequential([keras.Input((2,)), GaussianHead(2)])
        >>> networks = TaskNetworks(policy, 0.1, PolicyGradientLoss())
        >>> adapted_returns(networks, Navigation2D(4), [[0.1, 0.2]], steps=2, rollouts=3).shape
        (3, 1)

    References:
        Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """
    goals = np.asarray(goals, "float64")
    rng = np.random.default_rng(seed)
    weights = networks.start(len(goals))
    found = []
    for step in range(steps + 1):
        seen = sample_trajectories(environment, goals, _policy(networks, weights), rollouts, rng)
        found.append(seen.rewards.sum(axis=-1).mean(axis=-1))
        if step < steps:
            weights = networks.adapt(weights, *policy_samples(seen, discount))
    return np.stack(found)


def _policy(networks: TaskNetworks, weights: list[np.ndarray]) -> Policy:
    return lambda observations: networks.predict(weights, observations.astype("float32"))
