"""Copies weights between layers."""

import keras
import numpy as np


def copy_weights(source: keras.layers.Layer, target: keras.layers.Layer) -> None:
    """Gives `target` the values of `source`, in buffers of its own.

    On JAX, `set_weights(get_weights())` may let both share a buffer, which the first training step
    of either gives away.

    Args:
        source: A built layer.
        target: A built layer with weights of the same shapes, in the same order.

    Raises:
        ValueError: If the weights do not match.
    """
    target.set_weights([np.array(value) for value in source.get_weights()])
