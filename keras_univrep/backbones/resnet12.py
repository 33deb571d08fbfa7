"""ResNet-12 with DropBlock, the strong backbone of few-shot learning on small images."""

from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import BatchNormalization, Conv2D, DropBlock
from keras_univrep.types import Shape, Tensor

FILTERS = (64, 160, 320, 640)
CONVOLUTIONS = 3
# The last two blocks drop squares; the first two drop single numbers.
SQUARES = 2
SLOPE = 0.1


@keras.saving.register_keras_serializable(package="keras_univrep")
class ResNet12(keras.Model):
    """Four blocks of three 3x3 convolutions and a shortcut, each with 2x2 max-pooling.

    Equation:
        The backbone f of shu2021, section 6.1, in the form of Lee et al., 2019, appendix A; a block
        with input x, convolutions f_1 to f_3, batch normalisations N_1 to N_3, lrelu of slope 0.1:

            y_0 = x,   y_j = lrelu(N_j(f_j * y_(j-1))) for j = 1, 2
            x' = drop(maxpool(lrelu(N_3(f_3 * y_2) + N_s(f_s * x))))

        | symbol | here | shape |
        |---|---|---|
        | x, x' | input and output of a block | (batch, height, width, channels), halved |
        | f_s, N_s | shortcut: a 1x1 convolution and its batch normalisation | |
        | drop | dropout in the first two blocks, `DropBlock` in the others | |

    Differences: shu2021 names a ResNet-12 "with dropblocks" and cites TADAM; the channels 64, 160,
        320, 640 are those of MetaOptNet, which it compares with. That code lets the share of
        dropped squares rise over 40,000 steps; here it is constant.

    Args:
        drop_rate: Share of a map that is dropped while training, in [0, 1).
        block_size: Side of a dropped square, in pixels.
        width: Factor of all channel numbers.
        channels: Channels of the images.
        pooling: `"avg"` for one vector an image, or `None` for the map.
        seed: Seed of what is dropped.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: Normalised images of shape (batch, height, width, channels), at least 16x16; in
            training the height and width must be known.
        training: Whether batch normalisation uses the statistics of the batch, and to drop.

    Returns:
        Features of shape (batch, 640 width), or the map (batch, height // 16, width // 16, 640
        width).

    Raises:
        ValueError: If an argument is out of range, or the images have other channels.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import ResNet12
        >>> network = ResNet12(width=0.1)
        >>> tuple(network(np.ones((2, 32, 32, 3), "float32")).shape)
        (2, 64)

    References:
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
        - Oreshkin, Lopez, Lacoste. TADAM: task dependent adaptive metric. 2018.
        - Lee, Maji, Ravichandran, Soatto. Meta-learning with differentiable convex optimization.
          CVPR 2019.
    """

    def __init__(
        self,
        drop_rate: float = 0.1,
        block_size: int = 5,
        width: float = 1.0,
        channels: int = 3,
        pooling: str | None = "avg",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not width > 0:
            raise ValueError(
                f"`width` must be positive. Received: width={width}. Pass 1.0 for the paper's."
            )
        if pooling not in ("avg", None):
            raise ValueError(
                f"`pooling` must be 'avg' or None. Received: pooling={pooling!r}. Pass 'avg'."
            )
        self.drop_rate = drop_rate
        self.block_size = block_size
        self.width = width
        self.channels = channels
        self.pooling = pooling
        self.seed = seed
        sizes = [max(1, round(size * width)) for size in FILTERS]
        self.filters = sizes[-1]
        self.blocks = [
            _Block(
                filters,
                DropBlock(
                    drop_rate,
                    block_size if place >= len(sizes) - SQUARES else 1,
                    seed=None if seed is None else seed + place,
                    name="drop",
                    dtype=self.dtype_policy,
                ),
                name=f"block{place + 1}",
                dtype=self.dtype_policy,
            )
            for place, filters in enumerate(sizes)
        ]
        self.build((None, None, None, channels))

    def build(self, input_shape: Shape) -> None:
        if self.built:
            return
        shape: Shape = (None, None, None, input_shape[-1])
        for block in self.blocks:
            block.build(shape)
            shape = (None, None, None, block.filters)
        self.built: bool = True

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        self._check_images(images)
        x = images
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
            sizes = tuple(size and size >> len(FILTERS) for size in images.shape[1:3])
        return keras.KerasTensor((images.shape[0], *sizes, self.filters), self.compute_dtype)

    def _check_images(self, images: Tensor) -> None:
        shape, least = tuple(images.shape), 2 ** len(FILTERS)
        small = any(size is not None and size < least for size in shape[1:3])
        if len(shape) != 4 or shape[-1] != self.channels or small:
            raise ValueError(
                f"`images` of {self.name} must have shape (batch, height, width, {self.channels}), "
                f"at least {least} pixels high and wide. Received: shape={shape}. Resize them."
            )

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "drop_rate": self.drop_rate,
            "block_size": self.block_size,
            "width": self.width,
            "channels": self.channels,
            "pooling": self.pooling,
            "seed": self.seed,
        }


class _Block(keras.layers.Layer):
    """Three convolutions, a shortcut, pooling, and what drops parts of the map."""

    def __init__(self, filters: int, drop: DropBlock, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        sizes = {f"convolution{place + 1}": 3 for place in range(CONVOLUTIONS)} | {"shortcut": 1}
        self.convolutions = [
            Conv2D(
                filters,
                size,
                padding="same",
                use_bias=False,
                data_format="channels_last",
                kernel_initializer=keras.initializers.VarianceScaling(
                    2.0, mode="fan_out", distribution="untruncated_normal"
                ),
                name=name,
                dtype=self.dtype_policy,
            )
            for name, size in sizes.items()
        ]
        self.normalizations = [
            BatchNormalization(name=f"{name}_normalization", dtype=self.dtype_policy)
            for name in sizes
        ]
        self.drop = drop

    def build(self, input_shape: Shape) -> None:
        shape = (*input_shape[:-1], self.filters)
        for place, convolution in enumerate(self.convolutions):
            convolution.build(input_shape if place in (0, CONVOLUTIONS) else shape)
            self.normalizations[place].build(shape)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        def unit(place: int, x: Tensor) -> Tensor:
            return self.normalizations[place](self.convolutions[place](x), training=training)

        y = x
        for place in range(CONVOLUTIONS - 1):
            y = ops.leaky_relu(unit(place, y), SLOPE)
        y = backend.max_pool(unit(CONVOLUTIONS - 1, y) + unit(CONVOLUTIONS, x), 2)
        y = ops.leaky_relu(y, SLOPE)
        return self.drop(y, training=training)
