"""The network of four convolutions on which few-shot methods are compared."""

from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import BatchNormalization, Conv2D
from keras_univrep.types import Shape, Tensor

BLOCKS = 4
POOLINGS = ("flatten", "avg", None)


@keras.saving.register_keras_serializable(package="keras_univrep")
class Conv4(keras.Model):
    """Four blocks of a 3x3 convolution, batch normalisation, ReLU and 2x2 max pooling.

    Equation:
        Vinyals et al., 2016, section 4.1; a block with input x, convolution f and bias b, batch
        normalisation N:

            x' = maxpool(max(N(f * x + b), 0))

        | symbol | here | shape |
        |---|---|---|
        | x | input of a block | (batch, height, width, channels) |
        | x' | its output | (batch, height // 2, width // 2, filters) |

    Differences: none known. An odd row or column at the end is dropped by each pooling: 28x28
        images become 14, 7, 3 and 1 pixels wide. The kernels are drawn as in the few-shot code
        that PyTorch users share, with the variance 2 / (9 filters).

    Args:
        filters: Channels of each block.
        image_size: Height and width of the images, in pixels: one number for squares, or two.
            `"flatten"` accepts images of this size only.
        channels: Channels of the images.
        pooling: `"flatten"` for all values of the last map as one vector, `"avg"` for their mean
            over positions, or `None` for the map.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: Normalised images of shape (batch, height, width, channels), at least 16x16.
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        Features of shape (batch, height // 16 * width // 16 * filters) if flattened, (batch,
        filters) if averaged, or (batch, height // 16, width // 16, filters).

    Raises:
        ValueError: If an argument is none of the above, or images do not have their shape.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import Conv4
        >>> network = Conv4(filters=64, image_size=28, channels=1)
        >>> tuple(network(np.ones((2, 28, 28, 1), "float32")).shape)
        (2, 64)
        >>> sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
        111936

    References:
        - Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra. Matching networks for one shot
          learning. 2016.
        - Snell, Swersky, Zemel. Prototypical networks for few-shot learning. 2017.
    """

    def __init__(
        self,
        filters: int = 64,
        image_size: int | tuple[int, int] = 28,
        channels: int = 3,
        pooling: str | None = "flatten",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        if len(sizes) != 2 or min(sizes) < 2**BLOCKS:
            raise ValueError(
                f"`image_size` must be one or two numbers of at least {2**BLOCKS}. Received: "
                f"image_size={image_size}. Enlarge the images."
            )
        for argument, value in (("filters", filters), ("channels", channels)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{argument}` must be a positive integer. Received: {argument}={value!r}."
                )
        if pooling not in POOLINGS:
            raise ValueError(
                f"`pooling` must be one of {list(POOLINGS)}. Received: pooling={pooling!r}."
            )
        self.block_filters = filters
        self.image_size = sizes
        self.channels = channels
        self.pooling = pooling
        positions = (sizes[0] >> BLOCKS) * (sizes[1] >> BLOCKS)
        # Channels of the features, as the other backbones give them.
        self.filters = filters * positions if pooling == "flatten" else filters
        self.convolutions = [
            Conv2D(
                filters,
                3,
                padding="same",
                data_format="channels_last",
                kernel_initializer=keras.initializers.VarianceScaling(
                    2.0, mode="fan_out", distribution="untruncated_normal"
                ),
                name=f"convolution{number + 1}",
                dtype=self.dtype_policy,
            )
            for number in range(BLOCKS)
        ]
        self.normalizations = [
            BatchNormalization(name=f"normalization{number + 1}", dtype=self.dtype_policy)
            for number in range(BLOCKS)
        ]
        self.build((None, None, None, channels))

    def build(self, input_shape: Shape) -> None:
        if self.built:
            return
        shape: Shape = (None, None, None, input_shape[-1])
        for convolution, normalization in zip(self.convolutions, self.normalizations):
            convolution.build(shape)
            shape = (None, None, None, self.block_filters)
            normalization.build(shape)
        self.built: bool = True

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        self._check(images)
        x = images
        for convolution, normalization in zip(self.convolutions, self.normalizations):
            x = backend.max_pool(normalization(convolution(x), training=training), 2)
            # After the maximum, of which it changes nothing, on a quarter of the numbers.
            x = ops.relu(x)  # Vinyals et al. 2016 sec. 4.1
        if self.pooling == "avg":
            return ops.mean(x, axis=(1, 2))
        return ops.reshape(x, (-1, self.filters)) if self.pooling == "flatten" else x

    def compute_output_spec(self, images: Tensor, training: bool | None = None) -> Any:
        """Returns the shape and dtype of the features, without running the network."""
        self._check(images)
        sizes: Shape = ()
        if self.pooling is None:
            sizes = tuple(size and size >> BLOCKS for size in images.shape[1:3])
        return keras.KerasTensor((images.shape[0], *sizes, self.filters), self.compute_dtype)

    def _check(self, images: Tensor) -> None:
        shape = tuple(images.shape)
        wanted = self.image_size if self.pooling == "flatten" else (None, None)
        if (
            len(shape) != 4
            or shape[-1] != self.channels
            or any(n is not None and n < 2**BLOCKS for n in shape[1:3])
            or any(None not in pair and pair[0] != pair[1] for pair in zip(shape[1:3], wanted))
        ):
            raise ValueError(
                f"`images` of {self.name} must have shape (batch, {wanted[0] or 'height'}, "
                f"{wanted[1] or 'width'}, {self.channels}), at least {2**BLOCKS} pixels high and "
                f"wide. Received: shape={shape}. Resize them, or pass `image_size` and `channels`."
            )

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "filters": self.block_filters,
            "image_size": list(self.image_size),
            "channels": self.channels,
            "pooling": self.pooling,
        }
