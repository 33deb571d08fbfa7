"""Mini-batches and episodes that the policies of an Omni-Net gather for themselves."""

from typing import Any

import numpy as np

from keras_univrep.models import OmniTraining, TaskNetworks
from keras_univrep.reinforcement.environment import Environment
from keras_univrep.reinforcement.policy_samples import policy_samples
from keras_univrep.reinforcement.sample_trajectories import sample_trajectories

Samples = tuple[np.ndarray, np.ndarray]


class PolicyRollouts:
    """Gathers what one step of `OmniTraining` takes: each flow acts, and learns from what it did.

    Equation:
        shu2021, sections 5 and 6.3, for the policy theta of a flow and sampled tasks:

            pre-training:   L_pre of rollouts of theta
            meta-training:  L_meta of rollouts of phi = theta - alpha d L(S; theta) / d theta,
                            S the rollouts of theta

        The joint flow is pre-trained on the rollouts to which it adapts.

    Args:
        model: An `OmniTraining` with a `GaussianHead`, meta-trained by "maml" where it is, compiled
            with a `PolicyGradientLoss`.
        environment: Where its flows act.
        tasks: Tasks of a step.
        rollouts: Rollouts of each task before adaptation, and after it.
        learning_rate: alpha, as the model's.
        discount: Of the advantages, in [0, 1].
        seed: Of tasks, actions and environment.

    Raises:
        ValueError: If `tasks` is not positive, or the model not compiled.

    Example:
        >>> import keras
        >>> from keras_univrep.backbones import MLP, OmniNet
        >>> from keras_univrep.models import OmniTraining
        >>> from keras_univrep.reinforcement import *
        >>> options = {"steps": 1, "learning_rate": 0.1}
        >>> model = OmniTraining(OmniNet(MLP(2, (4,))), GaussianHead(2), "maml", options)
        >>> model.compile("sgd", PolicyGradientLoss())
        >>> source = PolicyRollouts(model, Navigation2D(5), tasks=2, rollouts=3)
        >>> item = source.item(0)
        >>> sorted(item["batch"]), sorted(item["episode"]), sorted(source.returns)
        (['joint', 'pre'], ['joint', 'meta'], ['joint', 'meta', 'pre'])

    References:
        Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """

    def __init__(
        self,
        model: OmniTraining,
        environment: Environment,
        tasks: int = 20,
        rollouts: int = 20,
        learning_rate: float = 0.1,
        discount: float = 0.99,
        seed: int = 0,
    ) -> None:
        if tasks < 1:
            raise ValueError(
                f"`tasks` must be positive. Received: tasks={tasks}. Pass 20 for the paper's."
            )
        loss = getattr(model, "pre_loss", None)
        if loss is None:
            raise ValueError(
                "`model` must be compiled with a loss of policies. Received: none. Call "
                "`model.compile(optimizer, PolicyGradientLoss())`."
            )
        self.model = model
        self.environment = environment
        self.tasks = tasks
        self.rollouts = rollouts
        self.discount = discount
        self.seed = seed
        flows = sorted({flow for own in model.trained.values() for flow in own})
        self.networks = {
            flow: TaskNetworks(model.learner(flow), learning_rate, loss) for flow in flows
        }
        # Mean returns of the last item by flow, before and (NaN without) after adaptation.
        self.returns: dict[str, tuple[float, float]] = {}

    def item(self, number: int) -> dict[str, Any]:
        """Lets the flows act as they are now.

        Args:
            number: Of the step; with the seed it says which tasks, and what is drawn.

        Returns:
            `{"batch": {flow: (x, y)}, "episode": {flow: {"support": ..., "query": ...}}}`.

        Raises:
            RuntimeError: As `sample_trajectories`.
        """
        rng = np.random.default_rng((self.seed, number))
        goals = self.environment.sample_goals(self.tasks, rng)
        batch: dict[str, Samples] = {}
        episode: dict[str, dict[str, Samples]] = {}
        for flow, networks in self.networks.items():
            weights = networks.start(self.tasks)
            support, before = self._act(networks, weights, goals, rng)
            after = float("nan")
            if flow in self.model.trained["meta"]:
                adapted = networks.adapt(weights, *support)
                query, after = self._act(networks, adapted, goals, rng)
                episode[flow] = {"support": support, "query": query}
            if flow in self.model.trained["pre"]:
                x, y = (part.reshape(-1, part.shape[-1]) for part in support)
                batch[flow] = (x, y)
            self.returns[flow] = (before, after)
        found: dict[str, Any] = {"batch": batch, "episode": episode}
        return {key: by_flow for key, by_flow in found.items() if by_flow}

    def _act(
        self,
        networks: TaskNetworks,
        weights: list[np.ndarray],
        goals: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[Samples, float]:
        """Samples of each task's rollouts, and the mean return."""
        seen = sample_trajectories(
            self.environment,
            goals,
            lambda observations: networks.predict(weights, observations.astype("float32")),
            self.rollouts,
            rng,
        )
        return policy_samples(seen, self.discount), float(seen.rewards.sum(axis=-1).mean())
