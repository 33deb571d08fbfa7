"""An initialisation from which a network learns a task in a few gradient steps."""

from typing import Any

import keras

from keras_univrep.models._inner_loop import (
    adapt,
    check_differentiable_twice,
    check_no_randomness,
    convolves,
    network_function,
    tensors_of,
    writes_out,
)
from keras_univrep.models._inner_rates import InnerRates
from keras_univrep.models._samples import Samples
from keras_univrep.models.meta_learner import MetaLearner
from keras_univrep.types import Tensor

MOMENTS = ("batch", "support")


@keras.saving.register_keras_serializable(package="keras_univrep")
class MAML(MetaLearner):
    """Learns weights from which a few gradient steps on a support set solve its task.

    Equation:
        Finn et al., 2017, eq. 1 and algorithm 2; for a task with support set S and query set Q:

            phi = theta;   `steps` times:  phi <- phi - alpha d L_S(phi) / d phi
            theta moves along the gradient of the mean of L_Q(phi) over the tasks

        | symbol | here | shape |
        |---|---|---|
        | theta | trainable variables of `network` | |
        | phi | the same for a task, within the step | |
        | alpha | `learning_rate` | scalar, or that of `learn_rates` |
        | L_S, L_Q | loss of `compile`, mean over samples | scalar |

        The gradient goes through the inner steps; first-order, it takes their gradients for
        constants, so that it is the gradient at phi. Learned rates are Li et al. (2017), Meta-SGD.

    Differences: Batch normalisation uses the moments of the support set in the inner steps and
        those of the query set for the queries, in training and evaluation alike, as Finn et al.
        do: queries then see one another. `query_moments="support"` normalises them by the support
        set under the adapted weights, as constants to the gradient. The moving moments are neither
        used nor moved, and nothing of a task stays in the network.

    Args:
        network: A built model or layer with one output, without dropout.
        steps: Gradient steps on the support set, from 0 on.
        learning_rate: alpha, or where it starts if it is learned; a positive number.
        first_order: Whether the inner gradients are constants to the outer one.
        learn_rates: `None`, or what has a learned rate of its own: each `"variable"`, or each
            `"element"` of every variable (Meta-SGD).
        query_moments: `"batch"` or `"support"`.
        test_steps: Steps in `evaluate` and `predict`; `None` for `steps`.
        vectorize: Whether the tasks of a batch become an axis of each operation. `None` does so
            without convolutions: of these, each task having kernels of its own, the vectorised
            form is a grouped convolution, which is slower on a CPU on every backend. There JAX
            compiles every task and step by itself, up to 48, as convolutions in XLA's loops are
            slower still.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: As for `MetaLearner`.
        training: Whether to take `steps` or `test_steps`.

    Returns:
        Outputs of the queries, (tasks, samples, ...).

    Raises:
        ValueError: If an argument is none of the above, or the network draws random numbers.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.models import MAML
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model = MAML(network, steps=2, learning_rate=0.1)
        >>> model.compile("sgd", "mse")
        >>> x = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4, 1)
        >>> tasks = {"support": (x, 2 * x), "query": (x, 2 * x)}
        >>> sorted(model.fit(tasks, batch_size=3, verbose=0).history)
        ['diverged', 'loss', 'skipped']
        >>> model.predict(tasks, verbose=0).shape
        (3, 4, 1)

    References:
        - Finn, Abbeel, Levine. Model-agnostic meta-learning for fast adaptation of deep networks.
          2017.
        - Li, Zhou, Chen, Li. Meta-SGD: learning to learn quickly for few-shot learning. 2017.
    """

    def __init__(
        self,
        network: keras.Model,
        steps: int = 1,
        learning_rate: float = 0.01,
        first_order: bool = False,
        learn_rates: str | None = None,
        query_moments: str = "batch",
        test_steps: int | None = None,
        vectorize: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(steps, test_steps, vectorize, **kwargs)
        check_network(network, "network", first_order)
        self.query_moments = check_moments(query_moments)
        self.network = network
        self.first_order = bool(first_order)
        self.rates = InnerRates(learning_rate, learn_rates, dtype=self.dtype_policy, name="rates")
        self.rates.make(network.trainable_variables)
        self.build(None)

    def adapted_outputs(
        self, support: Samples, query: Samples, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Adapts to each task and answers its queries.

        Args:
            support: `x`, `y` and `weight` (or None), (tasks, samples, ...).
            query: The same.
            steps: Number of steps.

        Returns:
            Outputs (tasks, samples, ...), and the loss of the support set before each step, (tasks,
            steps).
        """
        forward = network_function(self.network)
        values = tensors_of(self.network.trainable_variables)
        rates = self.rates.values()
        unroll = writes_out(self.network, support.x.shape[0], steps)

        def of_task(support: Samples, query: Samples) -> tuple[Tensor, Tensor]:
            def loss(values: list[Tensor], number: Any) -> Tensor:
                return self.support_loss(support, forward(values, support.x)[0])

            adapted, losses = adapt(loss, values, rates, steps, self.first_order, unroll)
            moments = None
            if self.query_moments == "support":
                _, moments = forward(adapted, support.x)
            return forward(adapted, query.x, moments)[0], losses

        vectorize = not convolves(self.network)
        return self.by_task(of_task, support, query, vectorize, unroll)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "learning_rate": self.rates.learning_rate,
            "first_order": self.first_order,
            "learn_rates": self.rates.learn,
            "query_moments": self.query_moments,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MAML":
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})


def check_network(network: keras.Layer, name: str, first_order: bool) -> None:
    """Refuses what cannot adapt."""
    if not isinstance(network, keras.Layer) or not network.built:
        raise ValueError(
            f"`{name}` must be a built Keras model or layer, so that the weights exist before "
            f"training. Received: {network!r}. Call it once on a batch, or give it an input shape."
        )
    check_no_randomness(network, name)
    if not first_order:
        check_differentiable_twice(network)


def check_moments(query_moments: str) -> str:
    """The argument, if it is one of those that there are."""
    if query_moments not in MOMENTS:
        raise ValueError(
            f"`query_moments` must be one of {list(MOMENTS)}. Received: "
            f"query_moments={query_moments!r}."
        )
    return query_moments
