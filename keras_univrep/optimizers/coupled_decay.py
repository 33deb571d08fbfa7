"""Weight decay as the gradient of an L2 penalty, for the optimizers that have it."""

import keras
from keras import ops

from keras_univrep.types import Tensor


def check_l2(l2: float, weight_decay: float | None) -> float:
    """Returns `l2`, after checking it and that no decoupled decay is asked for as well.

    Args:
        l2: Factor of the penalty's gradient.
        weight_decay: Keras's own decay.

    Raises:
        ValueError: If `l2` is negative, or `weight_decay` is given too.
    """
    if l2 < 0 or weight_decay:
        raise ValueError(
            "`l2` must not be negative, and takes the place of `weight_decay`. Received: "
            f"l2={l2}, weight_decay={weight_decay}. Pass one of them."
        )
    return l2


def add_decay(gradient: Tensor, variable: keras.Variable, l2: float) -> Tensor:
    """Returns g + l2 w, of the shape and dtype of the gradient."""
    if not l2:
        return gradient
    return gradient + ops.cast(l2, gradient.dtype) * ops.cast(variable, gradient.dtype)
