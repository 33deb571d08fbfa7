"""Letting policies act."""

from collections.abc import Callable

import numpy as np

from keras_univrep.reinforcement.environment import Environment
from keras_univrep.reinforcement.trajectories import Trajectories

Policy = Callable[[np.ndarray], np.ndarray]


def sample_trajectories(
    environment: Environment,
    goals: np.ndarray,
    policy: Policy,
    rollouts: int,
    rng: np.random.Generator,
) -> Trajectories:
    """Runs policies in an environment until every rollout has ended.

    Args:
        environment: Where.
        goals: Tasks, (tasks, ...).
        policy: Function of observations (tasks, rollouts, observation_size) that returns means of
            actions and logarithms of their standard deviations, (tasks, rollouts, 2 action_size).
        rollouts: Rollouts of each task, positive.
        rng: Where actions are drawn from, and what is random in the environment.

    Returns:
        `Trajectories` of `environment.horizon` steps.

    Raises:
        ValueError: If `rollouts` is not positive, or the policy's outputs have another shape.
        RuntimeError: If the environment raises, or returns numbers that are not finite or another
            shape than it must; the error says at which step.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.reinforcement import Navigation2D, sample_trajectories
        >>> rng, plane = np.random.default_rng(0), Navigation2D(horizon=5)
        >>> def standard(observations):
        ...     return np.zeros((*observations.shape[:2], 4))
        >>> found = sample_trajectories(plane, plane.sample_goals(2, rng), standard, 3, rng)
        >>> found.rewards.shape, found.observations.shape
        ((2, 3, 5), (2, 3, 5, 2))
    """
    if rollouts < 1:
        raise ValueError(
            f"`rollouts` must be positive. Received: rollouts={rollouts}. Pass 20 for the paper's."
        )
    each, steps = (len(goals), rollouts), environment.horizon
    observations = np.zeros((*each, steps, environment.observation_size))
    actions = np.zeros((*each, steps, environment.action_size))
    rewards, alive = np.zeros((*each, steps)), np.zeros((*each, steps), bool)
    (now,) = _ask(environment, 0, each, environment.reset, goals, rollouts, rng)
    running = np.ones(each, bool)
    for step in range(steps):
        said = np.asarray(policy(now), "float64")
        if said.shape != (*each, 2 * environment.action_size):
            raise ValueError(
                "`policy` must return means and logarithms of standard deviations of shape "
                f"{(*each, 2 * environment.action_size)}. Received: {said.shape}. End its network "
                f"with GaussianHead({environment.action_size})."
            )
        means, log_std = np.split(said, 2, axis=-1)
        chosen = means + np.exp(log_std) * rng.standard_normal(means.shape)
        following, gained, ended = _ask(environment, step + 1, each, environment.step, chosen)
        observations[:, :, step], actions[:, :, step] = now, chosen
        rewards[:, :, step] = np.where(running, gained, 0.0)
        alive[:, :, step] = running
        running = running & ~np.asarray(ended, bool)
        if not running.any():
            break
        # A rollout that has ended stays where it is.
        now = np.where(running[..., None], following, now)
    return Trajectories(observations, actions, rewards, alive)


def _ask(
    environment: Environment,
    step: int,
    each: tuple[int, int],
    method: Callable[..., object],
    *arguments: object,
) -> tuple[np.ndarray, ...]:
    """What the environment answers, checked."""
    name = f"{type(environment).__name__}.{method.__name__}"
    try:
        found = method(*arguments)
    except Exception as error:
        raise RuntimeError(
            "An environment must run without an error. Received: "
            f"{type(error).__name__}: {error}, by {name} before step {step} of "
            f"{environment.horizon}. Mend the environment, or bound the actions that it is given."
        ) from error
    arrays = tuple(np.asarray(part) for part in (found if isinstance(found, tuple) else (found,)))
    wanted = ((*each, environment.observation_size), each, each)[: 3 if step else 1]
    shapes = tuple(array.shape for array in arrays)
    if shapes != wanted:
        raise RuntimeError(
            f"{name} must return arrays of shapes {list(wanted)}. Received: {list(shapes)}. Run "
            "all tasks and rollouts at once."
        )
    if not all(np.isfinite(array).all() for array in arrays):
        raise RuntimeError(
            f"{name} must return finite numbers. Received: NaN or an infinity at step {step} of "
            f"{environment.horizon}. Bound the actions that it is given, or lower the rates."
        )
    return arrays
