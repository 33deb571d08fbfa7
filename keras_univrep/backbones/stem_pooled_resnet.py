"""Residual networks for images of 224 pixels, in the few-shot form without a classifier."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.layers import BatchNormalization, Conv2D
from keras_univrep.types import Shape, Tensor

FILTERS = (64, 128, 256, 512)
STEM_KERNEL = 7


@keras.saving.register_keras_serializable(package="keras_univrep")
class StemPooledResNet(keras.Model):
    """A residual network of basic blocks with a 7x7 stem and max-pooling: ResNet-18 for 224 pixels.

    A 7x7 convolution of stride 2, batch normalisation, ReLU and 3x3 max-pooling of stride 2; four
    stages with 64, 128, 256 and 512 channels, the last three with stride 2; the average over
    positions.

    Equation:
        The backbone f of shu2021, section 6.1; a block with input x, convolutions f_1, f_2 and
        batch normalisations N_1, N_2:

            x' = max(N_2(f_2 * max(N_1(f_1 * x), 0)) + s(x), 0)

        | symbol | here | shape |
        |---|---|---|
        | x | input of a block | (batch, height, width, channels) |
        | s | identity; a 1x1 convolution and its batch normalisation where channels change | |

    Differences: none known. The kernels are drawn as in the few-shot code that PyTorch users share,
        with the variance 2 / (size^2 filters).

    Args:
        blocks: Blocks of each stage: (2, 2, 2, 2) for ResNet-18, (1, 1, 1, 1) for ResNet-10.
        width: Factor of all channel numbers.
        channels: Channels of the images.
        pooling: `"avg"` for one vector an image, or `None` for the map.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: Normalised images of shape (batch, height, width, channels).
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        Features of shape (batch, 512 width), or the map, a 32nd of the height and of the width.

    Raises:
        ValueError: If an argument is none of the above, or the images have other channels.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import StemPooledResNet
        >>> network = StemPooledResNet(width=0.125)
        >>> tuple(network(np.ones((2, 64, 64, 3), "float32")).shape)
        (2, 64)
        >>> sum(int(np.prod(v.shape)) for v in StemPooledResNet().trainable_weights)
        11176512

    References:
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
        - He, Zhang, Ren, Sun. Deep residual learning for image recognition. CVPR 2016.
        - Chen, Liu, Kira, Wang, Huang. A closer look at few-shot classification. 2019.
    """

    def __init__(
        self,
        blocks: Sequence[int] = (2, 2, 2, 2),
        width: float = 1.0,
        channels: int = 3,
        pooling: str | None = "avg",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if len(blocks) != len(FILTERS) or any(
            isinstance(count, bool) or not isinstance(count, int) or count < 1 for count in blocks
        ):
            raise ValueError(
                f"`blocks` must be {len(FILTERS)} positive integers. Received: "
                f"blocks={blocks!r}. Pass (2, 2, 2, 2) for ResNet-18."
            )
        if not width > 0:
            raise ValueError(
                f"`width` must be positive. Received: width={width}. Pass 1.0 for the paper's."
            )
        if pooling not in ("avg", None):
            raise ValueError(
                f"`pooling` must be 'avg' or None. Received: pooling={pooling!r}. Pass 'avg'."
            )
        self.block_counts = tuple(blocks)
        self.width = width
        self.channels = channels
        self.pooling = pooling
        sizes = [max(1, round(size * width)) for size in FILTERS]
        self.filters = sizes[-1]
        self.stem_convolution = _convolution(sizes[0], STEM_KERNEL, 2, 3, "stem", self.dtype_policy)
        self.stem_normalization = BatchNormalization(
            name="stem_normalization", dtype=self.dtype_policy
        )
        self.blocks = []
        previous = sizes[0]
        for stage, (filters, count) in enumerate(zip(sizes, blocks, strict=True)):
            for number in range(count):
                self.blocks.append(
                    _Block(
                        filters,
                        strides=2 if stage and not number else 1,
                        projects=filters != previous or bool(stage and not number),
                        name=f"stage{stage + 1}_block{number + 1}",
                        dtype=self.dtype_policy,
                    )
                )
                previous = filters
        self.build((None, None, None, channels))

    def build(self, input_shape: Shape) -> None:
        if self.built:
            return
        self.stem_convolution.build((None, None, None, input_shape[-1]))
        shape: Shape = (None, None, None, self.stem_convolution.filters)
        self.stem_normalization.build(shape)
        for block in self.blocks:
            block.build(shape)
            shape = block.compute_output_shape(shape)
        self.built: bool = True

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        self._check_images(images)
        x = self.stem_convolution(images)
        x = ops.relu(self.stem_normalization(x, training=training))
        # After a ReLU zeros are as good as what PyTorch pads with.
        x = ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
        x = ops.max_pool(x, 3, 2, "valid", "channels_last")
        for block in self.blocks:
            x = block(x, training=training)
        if self.pooling is None:
            return x
        # A mean of low precision would lose what the maps have.
        return ops.cast(ops.mean(ops.cast(x, "float32"), axis=(1, 2)), self.compute_dtype)

    def compute_output_spec(
        self, images: Tensor, training: bool | None = None
    ) -> keras.KerasTensor:
        """Returns the shape and dtype of the features, without running the network."""
        self._check_images(images)
        sizes: Shape = ()
        if self.pooling is None:
            sizes = tuple(size and -(-size // 32) for size in images.shape[1:3])
        return keras.KerasTensor((images.shape[0], *sizes, self.filters), self.compute_dtype)

    def _check_images(self, images: Tensor) -> None:
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[-1] != self.channels:
            raise ValueError(
                f"`images` of {self.name} must have shape (batch, height, width, {self.channels}). "
                f"Received: shape={shape}. Stack single images into a batch."
            )

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "blocks": list(self.block_counts),
            "width": self.width,
            "channels": self.channels,
            "pooling": self.pooling,
        }


def _convolution(
    filters: int, size: int, strides: int, padding: int, name: str, dtype: Any
) -> Conv2D:
    return Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=False,
        data_format="channels_last",
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        name=name,
        dtype=dtype,
    )


class _Block(keras.layers.Layer):
    """Two convolutions with their normalisations, and a projection where it is needed."""

    def __init__(self, filters: int, strides: int, projects: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        sizes = {"convolution1": (3, strides, 1), "convolution2": (3, 1, 1)}
        if projects:
            sizes["projection"] = (1, strides, 0)
        dtype = self.dtype_policy
        self.convolutions = [
            _convolution(filters, *size, name=name, dtype=dtype) for name, size in sizes.items()
        ]
        self.normalizations = [
            BatchNormalization(name=f"{name}_normalization", dtype=dtype) for name in sizes
        ]

    def build(self, input_shape: Shape) -> None:
        shape = (*input_shape[:-1], self.filters)
        for place, convolution in enumerate(self.convolutions):
            convolution.build(shape if place == 1 else input_shape)
            self.normalizations[place].build(shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        # Only channels are asked for: the sizes of images are not known when weights are made.
        return (*input_shape[:-1], self.filters)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        def unit(place: int, x: Tensor) -> Tensor:
            return self.normalizations[place](self.convolutions[place](x), training=training)

        y = unit(1, ops.relu(unit(0, x)))
        return ops.relu(y + (unit(2, x) if len(self.convolutions) > 2 else x))
