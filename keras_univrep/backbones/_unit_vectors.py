"""Vectors of length one at each position."""

import keras
from keras import ops

from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class UnitVectors(keras.layers.Layer):
    """Divides the channels of each position by their norm, or by 1e-12 if that is more.

    Args:
        **kwargs: `name` and `dtype` of a Keras layer.

    Call arguments:
        inputs: Map of shape (batch, height, width, channels).

    Returns:
        A tensor of the same shape.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones._unit_vectors import UnitVectors
        >>> normals = UnitVectors()(np.full((1, 1, 1, 4), 3.0, "float32"))
        >>> [float(number) for number in normals[0, 0, 0]]
        [0.5, 0.5, 0.5, 0.5]
    """

    def call(self, inputs: Tensor) -> Tensor:
        return unit_vectors(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the vectors."""
        return input_shape


def unit_vectors(x: Tensor) -> Tensor:
    """The vectors along the last axis at length 1; a vector of zeros stays one."""
    # Of the squares: the root has no gradient at zero.
    squares = ops.sum(ops.square(x), axis=-1, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squares, 1e-24))
