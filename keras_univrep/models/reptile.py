"""An initialisation near the solutions of all tasks, found without second derivatives."""

from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.models._inner_loop import (
    adapt,
    convolves,
    network_function,
    tensors_of,
    writes_out,
)
from keras_univrep.models._inner_rates import InnerRates
from keras_univrep.models._meta_batch import MetaBatch
from keras_univrep.models._samples import Samples
from keras_univrep.models.maml import check_moments, check_network
from keras_univrep.models.meta_learner import MetaLearner
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class Reptile(MetaLearner):
    """Moves weights towards where gradient steps on each task lead.

    Equation:
        Nichol et al., 2018, algorithm 2; for a batch of E tasks:

            phi_e = theta;  `steps` times:  phi_e <- phi_e - alpha d L_e(phi_e) / d phi_e
            theta <- theta + epsilon 1/E sum_e (phi_e - theta)

        | symbol | here | shape |
        |---|---|---|
        | theta | trainable variables of `network` | |
        | L_e | loss of `compile` on a part of the support set | scalar |
        | alpha | `learning_rate` | scalar |
        | epsilon | learning rate of the optimizer, `SGD(epsilon)` | scalar |

    Differences: The optimizer takes `theta - mean of phi_e` for a gradient, so that any other than
        SGD may move theta. Inner steps are plain gradient steps; the paper's code takes Adam
        without momentum. Step number i takes `inner_batch_size` samples of the support set from
        number i `inner_batch_size` on, beginning anew at its end: shuffle the tasks' samples. The
        queries only judge; "loss" is their loss after adaptation. Batch normalisation as in `MAML`.

    Args:
        network: As for `MAML`.
        steps: Gradient steps on the support set, from 1 on for training.
        learning_rate: alpha, a positive number.
        inner_batch_size: Samples of an inner step; `None` for the whole support set.
        query_moments: As for `MAML`.
        test_steps: As for `MAML`.
        vectorize: As for `MAML`.
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
        >>> from keras_univrep.models import Reptile
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> model = Reptile(network, steps=4, learning_rate=0.1, inner_batch_size=2)
        >>> model.compile(keras.optimizers.SGD(0.5), "mse")
        >>> x = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4, 1)
        >>> tasks = {"support": (x, 2 * x), "query": (x, 2 * x)}
        >>> losses = model.fit(tasks, batch_size=3, epochs=5, verbose=0).history["loss"]
        >>> losses[-1] < losses[0]
        True

    References:
        Nichol, Achiam, Schulman. On first-order meta-learning algorithms. 2018.
    """

    def __init__(
        self,
        network: keras.Model,
        steps: int = 5,
        learning_rate: float = 0.01,
        inner_batch_size: int | None = None,
        query_moments: str = "batch",
        test_steps: int | None = None,
        vectorize: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(steps, test_steps, vectorize, **kwargs)
        check_network(network, "network", first_order=True)
        if inner_batch_size is not None and (
            isinstance(inner_batch_size, bool)
            or not isinstance(inner_batch_size, int)
            or inner_batch_size < 1
        ):
            raise ValueError(
                "`inner_batch_size` must be None or a positive integer. Received: "
                f"inner_batch_size={inner_batch_size!r}."
            )
        self.query_moments = check_moments(query_moments)
        self.network = network
        self.inner_batch_size = inner_batch_size
        self.rates = InnerRates(learning_rate, None, dtype=self.dtype_policy, name="rates")
        self.rates.make([])
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
        return self._solve(support, query, steps)[:2]

    def meta_gradients(
        self, batch: MetaBatch, variables: list[keras.Variable]
    ) -> tuple[Tensor, tuple[Tensor, Tensor], list[Tensor]]:
        """The loss of the queries, outputs and inner losses, and from where the tasks lead away.

        Args:
            batch: A batch of tasks.
            variables: The trainable variables of the network.

        Returns:
            The loss, (outputs, inner losses) and n gradients with the optimizer's loss scale.
        """
        with_solutions = self._solve(batch.support, batch.query, self.steps)
        outputs, inner, solutions = (
            keras.tree.map_structure(ops.stop_gradient, found) for found in with_solutions
        )
        scale = backend.share(ops.cast(self.optimizer.scale_loss(ops.ones(())), "float32"))
        grads = [
            scale * (ops.convert_to_tensor(v.value) - ops.mean(phi, axis=0))
            for v, phi in zip(variables, solutions, strict=True)
        ]  # Nichol et al. 2018 alg. 2
        return ops.stop_gradient(self._query_loss(batch, outputs)), (outputs, inner), grads

    def _solve(
        self, support: Samples, query: Samples, steps: int
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Outputs, inner losses and adapted values of each task."""
        forward = network_function(self.network)
        values = tensors_of(self.network.trainable_variables)
        unroll = writes_out(self.network, support.x.shape[0], steps)

        def of_task(support: Samples, query: Samples) -> tuple[Tensor, Tensor, list[Tensor]]:
            def loss(values: list[Tensor], number: Any) -> Tensor:
                part = self._part(support, number)
                return self.support_loss(part, forward(values, part.x)[0])

            rates = self.rates.values()
            adapted, losses = adapt(loss, values, rates, steps, first_order=True, unroll=unroll)
            moments = None
            if self.query_moments == "support":
                _, moments = forward(adapted, support.x)
            return forward(adapted, query.x, moments)[0], losses, adapted

        vectorize = not convolves(self.network)
        return self.by_task(of_task, support, query, vectorize, unroll)

    def _part(self, support: Samples, number: Any) -> Samples:
        size = self.inner_batch_size
        if size is None:
            return support
        count = ops.shape(support.x)[0]
        rows = (number * size + ops.arange(size)) % count
        return Samples(*(v if v is None else ops.take(v, rows, axis=0) for v in support))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "learning_rate": self.rates.learning_rate,
            "inner_batch_size": self.inner_batch_size,
            "query_moments": self.query_moments,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Reptile":
        network = keras.saving.deserialize_keras_object(config["network"])
        return cls(**{**config, "network": network})
