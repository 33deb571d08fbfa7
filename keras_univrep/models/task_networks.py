"""Copies of a network, one for each task, that adapt and predict."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.models._inner_loop import adapt, network_function, over_tasks
from keras_univrep.models._task_losses import scalar_loss
from keras_univrep.types import Tensor

Weights = list[np.ndarray]


class TaskNetworks:
    """Weights of a network for each task, which gradient steps move and predictions use.

    For whatever needs predictions between the steps, such as acting in an environment. Both are
    compiled once for the shapes that they see. The network itself stays as it is.

    Equation:
        Finn et al., 2017, eq. 1, for each task with samples S:

            phi <- phi - alpha d L_S(phi) / d phi

        | symbol | here | shape |
        |---|---|---|
        | phi | weights of a task | as the network's trainable variables |
        | alpha | `learning_rate` | scalar |
        | L_S | `loss`, mean over the samples | scalar |

    Args:
        network: A built model or layer with one output.
        learning_rate: alpha, a positive number.
        loss: A Keras loss, or function of (y_true, y_pred).
        vectorize: Whether the tasks become an axis of each operation, or follow one another.

    Raises:
        ValueError: If `learning_rate` is not positive, or the network not built.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.models import TaskNetworks
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        >>> copies = TaskNetworks(network, learning_rate=0.1)
        >>> x = np.ones((2, 5, 1), "float32")
        >>> weights = copies.adapt(copies.start(tasks=2), x, 0.0 * x)
        >>> [array.shape for array in weights], copies.predict(weights, x[:, :3]).shape
        ([(2, 1, 1)], (2, 3, 1))

    References:
        Finn, Abbeel, Levine. Model-agnostic meta-learning for fast adaptation of deep networks.
        2017.
    """

    def __init__(
        self,
        network: keras.Layer,
        learning_rate: float = 0.01,
        loss: Any = "mse",
        vectorize: bool = True,
    ) -> None:
        if not learning_rate > 0:
            raise ValueError(
                "`learning_rate` must be positive. Received: "
                f"learning_rate={learning_rate!r}. Pass the rate of the steps in training."
            )
        if not network.built:
            raise ValueError(
                f"`network` must be built, so that there are weights. Received: {network!r}. Call "
                "it once, or give it an input shape."
            )
        self.network = network
        self.learning_rate = float(learning_rate)
        self._answers = _Compiled(network, vectorize, self._predict_one, name="answers")
        self._steps = _Compiled(network, vectorize, self._adapt_one, name="steps")
        self.loss = keras.losses.get(loss)

    def start(self, tasks: int) -> Weights:
        """The network's weights of the moment, for each task.

        Args:
            tasks: How many.

        Returns:
            NumPy arrays (tasks, ...), one for each trainable variable.
        """
        values = [ops.convert_to_numpy(v) for v in self.network.trainable_variables]
        return [np.repeat(value[None], tasks, axis=0) for value in values]

    def adapt(self, weights: Sequence[Any], x: Any, y: Any) -> Weights:
        """Takes one gradient step on the samples of each task.

        Args:
            weights: As `start` returns them.
            x: Inputs, (tasks, samples, ...).
            y: Targets, (tasks, samples, ...).

        Returns:
            The weights after it.
        """
        found = self._steps.predict_on_batch({"weights": list(weights), "x": x, "y": y})
        return [np.asarray(value) for value in found]

    def predict(self, weights: Sequence[Any], x: Any) -> np.ndarray:
        """What each task's network says.

        Args:
            weights: As `start` returns them.
            x: Inputs, (tasks, samples, ...).

        Returns:
            NumPy array (tasks, samples, ...).
        """
        return np.asarray(self._answers.predict_on_batch({"weights": list(weights), "x": x}))

    def _predict_one(self, parts: dict[str, Any]) -> Tensor:
        return network_function(self.network)(parts["weights"], parts["x"])[0]

    def _adapt_one(self, parts: dict[str, Any]) -> list[Tensor]:
        forward = network_function(self.network)
        x, y = parts["x"], parts["y"]
        values, _ = adapt(
            lambda values, _: scalar_loss(self.loss, y, forward(values, x)[0], None),
            parts["weights"], self.learning_rate, 1, first_order=True,
        )  # fmt: skip
        return values  # Finn et al. 2017 eq. 1


class _Compiled(keras.Model):
    """A function of the parts of each task, which Keras compiles."""

    def __init__(self, network: keras.Layer, vectorize: bool, fn: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Its weights that no argument replaces belong to the compiled function's state.
        self.network = network
        self.vectorize = vectorize
        self.fn = fn
        self.built: bool = True

    def call(self, parts: dict[str, Any]) -> Any:
        return over_tasks(self.fn, parts, self.vectorize)
