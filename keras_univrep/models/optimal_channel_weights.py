"""The attention weights that a modulator would have to predict."""

from collections.abc import Mapping
from typing import Any

from keras_univrep.models._meta_batch import meta_batch
from keras_univrep.models.multi_task_meta_learner import MultiTaskMetaLearner
from keras_univrep.types import Tensor


def optimal_channel_weights(
    model: MultiTaskMetaLearner,
    inputs: Mapping[str, Any],
    steps: int = 50,
    learning_rate: float = 1.0,
) -> dict[str, Tensor]:
    """Trains the channel weights of each sub-task alone, on all of its samples.

    To lay beside `model.attention_weights(inputs)`, which sees the support set alone: lekkala2020,
    section 5.3 and figure 3. The head is adapted to the support set first, as without a modulator,
    and held then, as the backbone is.

    Equation:
        With the loss L of a sub-task's support and query samples together, from w = 0:

            w <- w - rate d L(h(f(x, w))) / d w

        | symbol | here | shape |
        |---|---|---|
        | w | what is returned | (sub-tasks, channels) |
        | f, h | `model.backbone`, the adapted head of the task | |

    Differences: The paper starts at ones, in a form of the modulation where ones change nothing:
        here zeros do. It prints neither the number of steps nor the rate.

    Args:
        model: A compiled model with modulators.
        inputs: As for the model's call, with the targets of the queries.
        steps: Gradient steps.
        learning_rate: Their rate.

    Returns:
        `{task: w}`, (sub-tasks, channels), for the tasks that have a modulator.

    Raises:
        ValueError: If a number is out of range, the model is not compiled or has no modulator, or
            queries have no targets.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.backbones import Conv4
        >>> from keras_univrep.layers import AttentionModulator
        >>> from keras_univrep.models import MultiTaskMetaLearner, optimal_channel_weights
        >>> backbone = Conv4(4, image_size=16, pooling=None)
        >>> head = keras.Sequential(
        ...     [keras.Input((1, 1, 4)), keras.layers.Flatten(), keras.layers.Dense(1)]
        ... )
        >>> count = MultiTaskMetaLearner.modulated_channels(backbone)
        >>> modulator = AttentionModulator(count, units=2, labels="vector", label_size=1)
        >>> model = MultiTaskMetaLearner(backbone, {"size": head}, {"size": modulator})
        >>> model.compile(loss="mse")
        >>> x, y = np.ones((2, 3, 16, 16, 3), "float32"), np.ones((2, 3, 1), "float32")
        >>> batch = {"size": {"support": (x, y), "query": (x, y)}}
        >>> tuple(optimal_channel_weights(model, batch, steps=1)["size"].shape)
        (2, 16)

    References:
        Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
    """
    if steps < 1 or not learning_rate > 0:
        raise ValueError(
            "`steps` must be at least 1 and `learning_rate` positive. Received: "
            f"steps={steps}, learning_rate={learning_rate}."
        )
    if not model.modulated_tasks or model.task_losses is None:
        raise ValueError(
            "`model` must be compiled and have a modulator. Received: modulators for "
            f"{list(model.modulated_tasks)}, losses {model.task_losses}. Pass `modulators`, and "
            "call `compile`."
        )
    found = {}
    for task in (task for task in model.modulated_tasks if task in inputs):
        batch = meta_batch(inputs[task])
        if batch.query.y is None:
            raise ValueError(
                f"The queries of {task!r} must have targets: all samples are learnt from. "
                "Received: inputs alone. Pass (x, y)."
            )
        inner = model.steps if model.test_steps is None else model.test_steps
        part, loss = model.parts[task], model.task_losses[task]
        found[task] = part.best_weights(batch, loss, inner, steps, learning_rate)
    return found
