"""Losses of the samples of tasks."""

from typing import Any

from keras import ops

from keras_univrep import backend
from keras_univrep.models._meta_batch import check_targets, over_samples
from keras_univrep.models._samples import Samples
from keras_univrep.models._task_losses import scalar_loss
from keras_univrep.types import Tensor


def mean_loss(loss: Any, samples: Samples, outputs: Tensor) -> Tensor:
    """Mean over the samples of one task, (samples, ...), those of the weight 0 not counted.

    Of the whole task, as a replica has it: not a share to be added to those of others.
    """
    weight = samples.weight
    if weight is not None:
        total = ops.sum(weight)
        number = ops.cast(ops.size(weight), weight.dtype)
        weight = weight * number / ops.where(total > 0, total, 1.0)
    value = scalar_loss(loss, samples.y, outputs, weight)
    # Keras divides means by the replicas, and no sums.
    divided = getattr(loss, "reduction", "mean") not in ("sum", "none", None)
    return backend.whole(value) if divided else value


def query_loss(loss: Any, query: Samples, outputs: Tensor) -> Tensor:
    """Mean over tasks of the means over their queries, (tasks, samples, ...); a replica's share."""
    if query.y is None:
        raise ValueError(
            "'query' must hold targets to learn from or to be judged by. Received: inputs alone. "
            "Pass (x, y), or call `predict`."
        )
    check_targets(query.y[0], outputs[0], "query")
    weight = query.weight
    # The mean of means is the mean of all samples, unless they are weighted.
    if weight is not None:
        counts = ops.sum(weight, axis=1, keepdims=True)
        tasks = ops.sum(ops.cast(counts > 0, "float32"))
        weight = weight / ops.where(counts > 0, counts, 1.0) / ops.maximum(tasks, 1.0)
        weight = over_samples(weight * ops.cast(ops.size(weight), "float32"))
    return scalar_loss(loss, over_samples(query.y), over_samples(outputs), weight)
