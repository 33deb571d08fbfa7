"""The head of a dense task: two convolutions on a full-resolution map."""

from typing import Any

import keras
from keras import ops

from keras_univrep.backbones._convolution_unit import xavier_normal
from keras_univrep.backbones._unit_vectors import unit_vectors
from keras_univrep.layers import Conv2D
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class DenseHead(keras.layers.Layer):
    """A 3x3 and a 1x1 convolution with nothing between them, for one dense task.

    Equation:
        The head psi of a task in li2022, section 5.1, on the last map of the decoder:

            y = W_2 * (W_1 * x + b_1) + b_2,    and y / max(|y|, 1e-12) for directions

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, height, width, channels of the map) |
        | W_1, b_1 | `convolution` | (3, 3, channels of the map, filters), (filters,) |
        | W_2, b_2 | `projection` | (1, 1, filters, channels), (channels,) |
        | y | outputs | (batch, height, width, channels) |

    Differences: From the paper, which does not say what a head is: as in its code, without batch
        normalisation and ReLU, and with Xavier-normal kernels. Classes come as logits, where that
        code gives the logarithm of the softmax.

    Args:
        channels: Channels of the task: classes, 1 for depth, 3 for normals.
        filters: Channels between the convolutions.
        normalize: Whether to give each pixel's outputs the length 1, computed in float32.
        **kwargs: `name` and `dtype` of a Keras layer.

    Call arguments:
        inputs: Map of shape (batch, height, width, channels of the map).

    Returns:
        A tensor of shape (batch, height, width, channels); of float32 if normalised.

    Raises:
        ValueError: If `channels` or `filters` is less than 1.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import DenseHead
        >>> normals = DenseHead(3, filters=8, normalize=True)(np.ones((2, 4, 6, 8), "float32"))
        >>> tuple(normals.shape)
        (2, 4, 6, 3)

    References:
        Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
        learning. 2022.
    """

    def __init__(
        self, channels: int, filters: int = 64, normalize: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for argument, value in (("channels", channels), ("filters", filters)):
            if value < 1:
                raise ValueError(
                    f"`{argument}` must be at least 1. Received: {argument}={value}. Pass the "
                    "number of channels."
                )
        self.channels = channels
        self.filters = filters
        self.normalize = normalize
        self.convolution, self.projection = (
            Conv2D(
                count,
                size,
                padding="same",
                data_format="channels_last",
                kernel_initializer=xavier_normal(),
                name=name,
                dtype=self.dtype_policy,
            )
            for count, size, name in ((filters, 3, "convolution"), (channels, 1, "projection"))
        )

    def build(self, input_shape: Shape) -> None:
        self.convolution.build(input_shape)
        self.projection.build((*input_shape[:-1], self.filters))
        self.built: bool = True

    def call(self, inputs: Tensor) -> Tensor:
        outputs = self.projection(self.convolution(inputs))
        if self.normalize:
            outputs = unit_vectors(ops.cast(outputs, self._output_dtype))
        return outputs

    def compute_output_spec(self, inputs: Tensor) -> keras.KerasTensor:
        """Returns the shape and dtype of the outputs, without computing them."""
        return keras.KerasTensor((*inputs.shape[:-1], self.channels), self._output_dtype)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns the shape of the outputs."""
        return (*input_shape[:-1], self.channels)

    @property
    def _output_dtype(self) -> str:
        narrow = self.compute_dtype in ("float16", "bfloat16")
        return "float32" if self.normalize and narrow else self.compute_dtype

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "channels": self.channels,
            "filters": self.filters,
            "normalize": self.normalize,
        }
