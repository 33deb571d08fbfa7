"""What a step is worth."""

import numpy as np


def discounted_returns(rewards: np.ndarray, discount: float = 0.99) -> np.ndarray:
    """Discounted sum of the rewards from each step on.

    Equation:
        Sutton and Barto, for the step t of a rollout:

            R_t = r_t + discount R_(t+1)

    Args:
        rewards: (..., horizon).
        discount: In [0, 1].

    Returns:
        Float64 array of the shape of `rewards`.

    Raises:
        ValueError: If `discount` is not in [0, 1].

    Example:
        >>> from keras_univrep.reinforcement import discounted_returns
        >>> discounted_returns([1.0, 0.0, 4.0], discount=0.5).tolist()
        [2.0, 2.0, 4.0]
    """
    if not 0.0 <= discount <= 1.0:
        raise ValueError(
            f"`discount` must be in [0, 1]. Received: discount={discount}. Pass 0.99 for the usual."
        )
    rewards = np.asarray(rewards, "float64")
    returns = np.zeros_like(rewards)
    following = np.zeros(rewards.shape[:-1])
    for step in reversed(range(rewards.shape[-1])):
        following = rewards[..., step] + discount * following
        returns[..., step] = following
    return returns
