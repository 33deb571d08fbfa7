"""Features that all tasks share, and a head that adapts to each."""

from typing import Any

import keras

from keras_univrep.models._inner_loop import adapt, joins_tasks, network_function, tensors_of
from keras_univrep.models._inner_rates import InnerRates
from keras_univrep.models._samples import Samples
from keras_univrep.models.maml import check_moments, check_network
from keras_univrep.models.meta_learner import MetaLearner
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class ANIL(MetaLearner):
    """MAML whose inner loop moves the head alone: almost no inner loop.

    Equation:
        lekkala2020, eq. 2; for a task with support set S and query set Q, and x = f_Phi(I):

            theta' = theta;   `steps` times:
            theta' <- theta' - alpha d L_S(g_(theta')(x)) / d theta'
            Phi, theta move along the gradient of the mean of L_Q(g_(theta')(x)) over the tasks

        | symbol | here | shape |
        |---|---|---|
        | f_Phi | `backbone` | (samples, ...) to (samples, channels) |
        | g_theta | `head` | (samples, channels) to outputs |
        | alpha | `learning_rate` | scalar, or that of `learn_rates` |

    Differences: The features of a support set are computed once for all its steps, which is the
        same, as only the head moves. Batch normalisation as in `MAML`: by the moments of the
        support set, and for queries by their own or by those of the support set.

    Args:
        backbone: A built model or layer that returns features, without dropout.
        head: A built model or layer of features, without dropout.
        steps: As for `MAML`.
        learning_rate: As for `MAML`.
        first_order: As for `MAML`; of the head's steps.
        learn_rates: As for `MAML`; rates of the head's variables.
        query_moments: As for `MAML`.
        test_steps: As for `MAML`.
        vectorize: Whether the tasks of a batch become an axis of each operation. `None` does so:
            the tasks share the kernels of the backbone, so that its convolutions see one large
            batch. With convolutions on a CPU PyTorch is faster without, and goes without.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: As for `MetaLearner`.
        training: Whether to take `steps` or `test_steps`.

    Returns:
        Outputs of the queries, (tasks, samples, ...).

    Raises:
        ValueError: If an argument is none of the above, or a part draws random numbers.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.models import ANIL
        >>> backbone = keras.Sequential([keras.Input((1,)), keras.layers.Dense(8, "relu")])
        >>> head = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
        >>> model = ANIL(backbone, head, steps=3, learning_rate=0.1)
        >>> model.compile("sgd", "mse")
        >>> x = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4, 1)
        >>> tasks = {"support": (x, 2 * x), "query": (x, 2 * x)}
        >>> sorted(model.fit(tasks, batch_size=3, verbose=0).history)
        ['diverged', 'loss', 'skipped']

    References:
        - Raghu, Raghu, Bengio, Vinyals. Rapid learning or feature reuse? Towards understanding the
          effectiveness of MAML. 2020.
        - Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
    """

    def __init__(
        self,
        backbone: keras.Model,
        head: keras.Model,
        steps: int = 5,
        learning_rate: float = 0.01,
        first_order: bool = False,
        learn_rates: str | None = None,
        query_moments: str = "batch",
        test_steps: int | None = None,
        vectorize: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(steps, test_steps, vectorize, **kwargs)
        # The backbone is not part of the inner loop: first derivatives are enough.
        check_network(backbone, "backbone", first_order=True)
        check_network(head, "head", first_order)
        self.query_moments = check_moments(query_moments)
        self.backbone = backbone
        self.head = head
        self.first_order = bool(first_order)
        self.rates = InnerRates(learning_rate, learn_rates, dtype=self.dtype_policy, name="rates")
        self.rates.make(head.trainable_variables)
        self.build(None)

    def adapted_outputs(
        self, support: Samples, query: Samples, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Adapts the head to each task and answers its queries.

        Args:
            support: `x`, `y` and `weight` (or None), (tasks, samples, ...).
            query: The same.
            steps: Number of steps.

        Returns:
            Outputs (tasks, samples, ...), and the loss of the support set before each step, (tasks,
            steps).
        """
        body, head = network_function(self.backbone), network_function(self.head)
        weights = tensors_of(self.backbone.trainable_variables)
        values = tensors_of(self.head.trainable_variables)
        rates = self.rates.values()

        def of_task(support: Samples, query: Samples) -> tuple[Tensor, Tensor]:
            features, body_moments = body(weights, support.x)
            by_support = self.query_moments == "support"
            queries, _ = body(weights, query.x, body_moments if by_support else None)

            def loss(values: list[Tensor], number: Any) -> Tensor:
                return self.support_loss(support, head(values, features)[0])

            adapted, losses = adapt(loss, values, rates, steps, self.first_order)  # eq. 2
            moments = head(adapted, features)[1] if by_support else None
            return head(adapted, queries, moments)[0], losses

        return self.by_task(of_task, support, query, joins_tasks(self.backbone))

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "backbone": serialize(self.backbone),
            "head": serialize(self.head),
            "learning_rate": self.rates.learning_rate,
            "first_order": self.first_order,
            "learn_rates": self.rates.learn,
            "query_moments": self.query_moments,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ANIL":
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("backbone", "head")
        }
        return cls(**{**config, **parts})
