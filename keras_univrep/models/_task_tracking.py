"""What a model of several tasks logs of a step."""

from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.types import Tensor


def track_step(
    model: Any,
    x: Any,
    losses: Tensor,
    penalty: Tensor,
    gram: Tensor | None,
    weights: Tensor,
    bad: Tensor,
) -> None:
    """Feeds the trackers of losses, weights and cosines, and notes what broke first."""
    size = size_of(x)
    model.track_loss(backend.share(ops.sum(losses) + penalty), x)
    seen = ops.any(model.broken.value > 0.0)
    model.broken.assign(ops.where(seen, model.broken.value, ops.cast(bad, "float32")))
    cosines: Any = None
    if gram is not None and model.log_cosines:
        lengths = ops.sqrt(ops.maximum(ops.diagonal(gram), 1e-30))
        cosines = gram / lengths[:, None] / lengths[None, :]
    # A step that is not taken has weights that are no numbers, and does not count.
    counts = ops.cast(ops.all(ops.isfinite(weights)), "float32") * ops.cast(size, "float32")
    for i, task in enumerate(model.tasks):
        model.trackers[f"{task}_loss"].update_state(losses[i], sample_weight=size)
        weight = ops.where(ops.isfinite(weights[i]), weights[i], 0.0)
        model.trackers[f"{task}_weight"].update_state(weight, sample_weight=counts)
        for j in range(i + 1, len(model.tasks)) if cosines is not None else ():
            cosine = ops.where(ops.isfinite(cosines[i, j]), cosines[i, j], 0.0)
            tracker = model.trackers[f"{task}_{model.tasks[j]}_cosine"]
            tracker.update_state(cosine, sample_weight=counts)


def size_of(x: Any) -> Tensor:
    """Number of samples of a batch."""
    return ops.shape(next(leaf for leaf in keras.tree.flatten(x) if leaf is not None))[0]
