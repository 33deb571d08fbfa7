"""A head that makes a dense map of small features."""

from typing import Any

import keras
from keras import ops

from keras_univrep.layers import Conv2D
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class ConvTransposeHead(keras.Model):
    """Blocks of a transposed convolution and a convolution, each of which doubles a map.

    Equation:
        lekkala2020, section 5; a block with input x, transposed convolution u of stride 2 and
        convolution f, and at the end a 1x1 convolution g to the channels of the task:

            x' = max(f * max(u *^T x + a, 0) + b, 0)

        | symbol | here | shape |
        |---|---|---|
        | x | input of a block | (batch, height, width, channels) |
        | x' | its output | (batch, 2 height, 2 width, filters) |

    Differences: The paper prints the number of blocks and of filters, 4 blocks of 4 filters for
        depth and of 8 for normals. Kernels of 2x2 and 3x3, ReLU and the last convolution are chosen
        here. A transposed convolution of kernel 2 and stride 2 is computed as a 1x1 convolution to
        four times the channels, which are then laid out 2x2: the same function with a bias for
        each of the four places, differentiable twice on every backend.

    Args:
        channels: Channels of the task: 1 for depth, 3 for normals.
        features: Channels of the map that comes in.
        filters: Channels of each block.
        blocks: Number of blocks; 4 undo the poolings of `Conv4`.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: Map of shape (batch, height, width, features).

    Returns:
        Map of shape (batch, 2^blocks height, 2^blocks width, channels).

    Raises:
        ValueError: If an argument is not positive.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import ConvTransposeHead
        >>> head = ConvTransposeHead(channels=1, features=32)
        >>> tuple(head(np.ones((2, 4, 4, 32), "float32")).shape)
        (2, 64, 64, 1)

    References:
        - Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
    """

    def __init__(
        self, channels: int, features: int, filters: int = 4, blocks: int = 4, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (
            ("channels", channels),
            ("features", features),
            ("filters", filters),
            ("blocks", blocks),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value!r}. Pass 4 "
                    "filters in 4 blocks, for example."
                )
        self.channels, self.features = channels, features
        self.block_filters, self.blocks = filters, blocks

        def convolution(count: int, size: int, name: str) -> Conv2D:
            return Conv2D(
                count, size, padding="same", data_format="channels_last",
                kernel_initializer="he_normal" if size > 1 else "glorot_uniform", name=name,
                dtype=self.dtype_policy,
            )  # fmt: skip

        numbers = range(1, blocks + 1)
        self.transposed = [convolution(4 * filters, 1, f"transposed{n}") for n in numbers]
        self.convolutions = [convolution(filters, 3, f"convolution{n}") for n in numbers]
        self.output_convolution = convolution(channels, 1, "output")
        self.build(None)

    def build(self, input_shape: Shape | None) -> None:
        size = self.features
        for transposed, following in zip(self.transposed, self.convolutions, strict=True):
            transposed.build((None, None, None, size))
            size = self.block_filters
            following.build((None, None, None, size))
        self.output_convolution.build((None, None, None, size))
        self.built: bool = True

    def call(self, inputs: Tensor) -> Tensor:
        x = inputs
        for transposed, following in zip(self.transposed, self.convolutions, strict=True):
            x = ops.relu(_laid_out(transposed(x)))
            x = ops.relu(following(x))  # lekkala2020 sec. 5
        return self.output_convolution(x)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "channels": self.channels,
            "features": self.features,
            "filters": self.block_filters,
            "blocks": self.blocks,
        }


def _laid_out(x: Tensor) -> Tensor:
    """(batch, h, w, 4 c) to (batch, 2 h, 2 w, c)."""
    batch, height, width, channels = ops.shape(x)
    x = ops.reshape(x, (batch, height, width, 2, 2, channels // 4))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (batch, 2 * height, 2 * width, channels // 4))
