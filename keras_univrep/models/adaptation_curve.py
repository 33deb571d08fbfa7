"""How the predictions for new tasks change with the gradient steps taken on their support sets."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.models._inner_loop import adapt, network_function, over_tasks
from keras_univrep.models._task_losses import scalar_loss
from keras_univrep.types import Tensor


def adaptation_curve(
    network: keras.Layer,
    support: tuple[Any, Any],
    query: Any,
    steps: int = 10,
    learning_rate: float = 0.01,
    loss: Any = "mse",
    vectorize: bool = True,
) -> np.ndarray:
    """Fine-tunes all weights of a network on each task's support set, and predicts as it goes.

    The network itself stays as it is. Its batch normalisations use the moments of the batch that
    they see, as in `MAML`.

    Equation:
        Finn et al., 2017, eq. 1, for each task with support set S, `steps` times:

            phi <- phi - alpha d L_S(phi) / d phi

    Args:
        network: A built model or layer with one output.
        support: Inputs and targets, (tasks, samples, ...) each.
        query: Inputs to predict, (tasks, queries, ...).
        steps: Gradient steps, from 0 on; each uses the whole support set.
        learning_rate: alpha, a positive number.
        loss: A Keras loss, or function of (y_true, y_pred).
        vectorize: Whether the tasks become an axis of each operation, or follow one another.

    Returns:
        NumPy array of predictions after 0, 1, ..., `steps` steps, (steps + 1, tasks, queries, ...).

    Raises:
        ValueError: If `steps` is negative, or there is not one target for each input.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.models import adaptation_curve
        >>> network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        >>> x = np.linspace(-1, 1, 10, dtype="float32").reshape(2, 5, 1)
        >>> adaptation_curve(network, (x, 2 * x), x, steps=3, learning_rate=0.1).shape
        (4, 2, 5, 1)

    References:
        Finn, Abbeel, Levine. Model-agnostic meta-learning for fast adaptation of deep networks.
        2017.
    """
    x, y = (ops.convert_to_tensor(part) for part in support)
    query = ops.convert_to_tensor(query)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ValueError(
            f"`steps` must be an integer of at least 0. Received: steps={steps!r}. Pass 0 for the "
            "predictions before adaptation."
        )
    if tuple(x.shape[:2]) != tuple(y.shape[:2]) or x.shape[0] != query.shape[0]:
        raise ValueError(
            "`support` must be inputs and targets (tasks, samples, ...), and `query` of as many "
            f"tasks. Received: shapes {tuple(x.shape)}, {tuple(y.shape)} and "
            f"{tuple(query.shape)}. Stack all by task."
        )
    loss = keras.losses.get(loss)
    forward = network_function(network)
    start = [ops.convert_to_tensor(v.value) for v in network.trainable_variables]

    def of_task(parts: Any) -> Tensor:
        x, y, query = parts
        values, found = start, [forward(start, query)[0]]
        for _ in range(steps):
            values, _ = adapt(
                lambda values, _: scalar_loss(loss, y, forward(values, x)[0], None),
                values, learning_rate, 1, first_order=True,
            )  # fmt: skip
            found.append(forward(values, query)[0])
        return ops.stack(found)

    curves = over_tasks(of_task, (x, y, query), vectorize)
    return np.moveaxis(ops.convert_to_numpy(curves), 0, 1)
