"""Trajectories as what a loss of policies takes."""

import numpy as np

from keras_univrep.reinforcement.discounted_returns import discounted_returns
from keras_univrep.reinforcement.linear_feature_baseline import LinearFeatureBaseline
from keras_univrep.reinforcement.trajectories import Trajectories


def policy_samples(
    trajectories: Trajectories, discount: float = 0.99
) -> tuple[np.ndarray, np.ndarray]:
    """States and, as their targets, actions and advantages of each task.

    Equation:
        Duan et al., 2016, with returns R and values V of a linear feature baseline, fitted to the
        trajectories of the task:

            A = (R - V - mean(R - V)) / std(R - V)

    Args:
        trajectories: What the policies did, of N tasks with S steps each.
        discount: Of the returns, in [0, 1].

    Returns:
        Float32 states (N, S, observation_size), and actions with advantages behind them,
        (N, S, 2 action_size). Steps after the end of a rollout have the advantage 0, hence no
        gradient; the mean over all S is a constant share of the sum over rollouts.

    Raises:
        ValueError: If `discount` is not in [0, 1].

    Example:
        >>> import numpy as np
        >>> from keras_univrep.reinforcement import Trajectories, policy_samples
        >>> steps = np.random.default_rng(0).normal(size=(2, 3, 5, 1))
        >>> found = Trajectories(steps, steps, steps[..., 0], np.ones((2, 3, 5), bool))
        >>> [array.shape for array in policy_samples(found)]
        [(2, 15, 1), (2, 15, 2)]

    References:
        Duan, Chen, Houthooft, Schulman, Abbeel. Benchmarking deep reinforcement learning for
        continuous control. ICML 2016.
    """
    returns = discounted_returns(trajectories.rewards, discount)
    values = LinearFeatureBaseline().fit(trajectories, discount).predict(trajectories)
    counted = trajectories.alive.astype("float64")

    def of_task(x: np.ndarray) -> np.ndarray:
        return x.sum(axis=(1, 2), keepdims=True)

    number = np.maximum(of_task(counted), 1.0)
    advantages = (returns - values) * counted
    advantages = (advantages - of_task(advantages) / number) * counted
    spread = np.sqrt(of_task(advantages**2) / number)
    advantages = advantages / np.maximum(spread, 1e-8)  # Duan et al. 2016
    actions = trajectories.actions
    repeated = np.repeat(advantages[..., None], actions.shape[-1], axis=-1)
    targets = np.concatenate([actions, repeated], axis=-1)
    return _flat(trajectories.observations), _flat(targets)


def _flat(steps: np.ndarray) -> np.ndarray:
    """Steps of all rollouts of a task behind one another, float32."""
    return steps.reshape(len(steps), -1, steps.shape[-1]).astype("float32")
