"""The value of a state, by linear regression on features of it."""

import numpy as np

from keras_univrep.reinforcement.discounted_returns import discounted_returns
from keras_univrep.reinforcement.trajectories import Trajectories


class LinearFeatureBaseline:
    """Values of states, fitted to the returns of each task by regularised least squares.

    Equation:
        Duan et al., 2016, for the state o at step t of a rollout:

            f = [o, o^2, t/100, (t/100)^2, (t/100)^3, 1],   V = f . w
            w = argmin sum (f . w - R)^2 + ridge |w|^2

        | symbol | here | shape |
        |---|---|---|
        | o | observation, clipped to [-10, 10] | (observation_size,) |
        | R | discounted return from the step on | scalar |
        | w | `weights` | (tasks, 2 observation_size + 4) |

    Args:
        ridge: Positive number.

    Raises:
        ValueError: If `ridge` is not positive, or values are asked for before `fit`.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.reinforcement import LinearFeatureBaseline, Trajectories
        >>> steps = np.random.default_rng(0).normal(size=(2, 3, 5, 1))
        >>> found = Trajectories(steps, steps, steps[..., 0], np.ones((2, 3, 5), bool))
        >>> LinearFeatureBaseline().fit(found).predict(found).shape
        (2, 3, 5)

    References:
        Duan, Chen, Houthooft, Schulman, Abbeel. Benchmarking deep reinforcement learning for
        continuous control. ICML 2016.
    """

    def __init__(self, ridge: float = 1e-5) -> None:
        if not ridge > 0:
            raise ValueError(f"`ridge` must be positive. Received: ridge={ridge}. Pass 1e-5.")
        self.ridge = float(ridge)
        self.weights: np.ndarray | None = None

    def fit(self, trajectories: Trajectories, discount: float = 0.99) -> "LinearFeatureBaseline":
        """Fits the values of each task to its returns.

        Args:
            trajectories: What the policies did.
            discount: Of the returns, in [0, 1].

        Returns:
            The baseline itself.
        """
        returns = discounted_returns(trajectories.rewards, discount)
        tasks = len(returns)
        # Steps after the end do not count.
        counted = trajectories.alive.reshape(tasks, -1, 1).astype("float64")
        features = self._features(trajectories).reshape(tasks, counted.shape[1], -1) * counted
        targets = returns.reshape(tasks, -1, 1) * counted
        across = np.swapaxes(features, 1, 2)
        penalty = self.ridge * np.eye(features.shape[-1])
        # Duan et al. 2016
        self.weights = np.linalg.solve(across @ features + penalty, across @ targets)[..., 0]
        return self

    def predict(self, trajectories: Trajectories) -> np.ndarray:
        """Values of the states of each task.

        Args:
            trajectories: Of as many tasks as in `fit`.

        Returns:
            Float64 array (tasks, rollouts, horizon).

        Raises:
            ValueError: If `fit` was not called.
        """
        if self.weights is None:
            raise ValueError(
                "`fit` must be called before `predict`. Received: no weights. Call "
                "`fit(trajectories)`."
            )
        return np.einsum("nrtf,nf->nrt", self._features(trajectories), self.weights)

    def _features(self, trajectories: Trajectories) -> np.ndarray:
        states = np.clip(np.asarray(trajectories.observations, "float64"), -10.0, 10.0)
        times = np.arange(states.shape[2]) / 100.0
        powers = np.stack([times, times**2, times**3, np.ones_like(times)], axis=-1)
        powers = np.broadcast_to(powers, (*states.shape[:3], powers.shape[-1]))
        return np.concatenate([states, states**2, powers], axis=-1)
