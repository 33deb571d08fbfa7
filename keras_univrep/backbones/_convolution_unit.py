"""What SegNet is made of, as a part of functional graphs."""

from typing import Any

import keras

from keras_univrep.layers import BatchNormalization, Conv2D
from keras_univrep.types import Tensor


class ConvolutionUnit:
    """A convolution, batch normalisation and an activation, to be called on several maps."""

    def __init__(
        self, filters: int, size: int, name: str, dtype: Any, activation: str = "relu",
        output_name: str | None = None,
    ) -> None:  # fmt: skip
        self.layers: tuple[keras.Layer, ...] = (
            Conv2D(
                filters,
                size,
                padding="same",
                data_format="channels_last",
                kernel_initializer=xavier_normal(),
                name=f"{name}_conv",
                dtype=dtype,
            ),
            BatchNormalization(name=f"{name}_norm", dtype=dtype),
            keras.layers.Activation(
                activation, name=output_name or f"{name}_{activation}", dtype=dtype
            ),
        )

    def __call__(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def xavier_normal() -> keras.Initializer:
    """Xavier's, which PyTorch draws from an untruncated normal distribution."""
    return keras.initializers.VarianceScaling(
        1.0, mode="fan_avg", distribution="untruncated_normal"
    )
