"""Values put back where their maxima were."""

from typing import Any

import keras

from keras_univrep import backend
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class MaxUnpool(keras.layers.Layer):
    """Doubles a map: each value goes where the maximum of its 2x2 window was, zero elsewhere.

    Equation:
        For each window W and channel, with its index from `MaxPoolWithIndices` (Badrinarayanan
        et al., 2017):

            y_p = x if p = index else 0,    for the four p in W

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, height, width, channels) |
        | index | `indices` | (batch, height, width, channels) |
        | y | outputs | (batch, 2 height, 2 width, channels) |

    Differences: None known.

    Args:
        **kwargs: `name` and `dtype` of a Keras layer.

    Call arguments:
        inputs: Floating tensor of shape (batch, height, width, channels).
        indices: Integers of the same shape that `MaxPoolWithIndices` gave.

    Returns:
        A tensor of shape (batch, 2 height, 2 width, channels).

    Raises:
        ValueError: If the shapes differ, or have other axes.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import MaxPoolWithIndices, MaxUnpool
        >>> image = np.array([[0, 5], [2, 3]], "float32").reshape(1, 2, 2, 1)
        >>> outputs = MaxUnpool()(*MaxPoolWithIndices()(image))
        >>> [[float(pixel) for pixel in row] for row in outputs[0, :, :, 0]]
        [[0.0, 5.0], [0.0, 0.0]]

    References:
        Badrinarayanan, Kendall, Cipolla. SegNet: a deep convolutional encoder-decoder architecture
        for image segmentation. TPAMI 2017.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.built: bool = True

    def call(self, inputs: Tensor, indices: Tensor) -> Tensor:
        self._check(inputs.shape, indices.shape)
        return backend.max_unpool(inputs, indices)

    def compute_output_shape(self, inputs_shape: Shape, indices_shape: Shape) -> Shape:
        """Returns the shape of the outputs."""
        self._check(inputs_shape, indices_shape)
        batch, height, width, channels = inputs_shape
        return batch, height and 2 * height, width and 2 * width, channels

    def _check(self, inputs: Shape, indices: Shape) -> None:
        pairs = list(zip(inputs, indices))
        if len(inputs) != 4 or len(indices) != 4 or any(a != b for a, b in pairs if a and b):
            raise ValueError(
                "`inputs` and `indices` must both have shape (batch, height, width, channels). "
                f"Received: shapes {tuple(inputs)} and {tuple(indices)} in {self.name}. Pass the "
                "indices of the pooling that gave a map of this size."
            )

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": keras.dtype_policies.serialize(self.dtype_policy)}
