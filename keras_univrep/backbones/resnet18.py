"""ResNet-18 for images of about 84 pixels, as few-shot learning over many domains uses it."""

from typing import Any

import keras
from keras import ops

from keras_univrep.layers import BatchNormalization, Conv2D
from keras_univrep.layers.copy_weights import copy_weights
from keras_univrep.types import Shape, Tensor

STAGES = ("stage1", "stage2", "stage3", "stage4")
STEM_KERNEL = 5


@keras.saving.register_keras_serializable(package="keras_univrep")
class ResNet18(keras.Model):
    """The 18-layer residual network of the Meta-Dataset experiments.

    A 5x5 stem of stride 2 without max-pooling, four stages of two blocks with 64, 128, 256 and 512
    channels, the last three with stride 2, and the average over positions.

    Equation:
        The network f of li2022, section 5.3; a block with input x, convolutions f_1, f_2 and batch
        normalisations N_1, N_2:

            x' = max(N_2(f_2 * max(N_1(f_1 * x), 0)) + s(x), 0)

        | symbol | here | shape |
        |---|---|---|
        | x | input of a block | (batch, height, width, channels) |
        | s | identity; at stride 2 a 1x1 convolution and its batch normalisation | |

    Differences: The paper says ResNet-18; kernel, stride and missing pooling of the stem are those
        of its code. That code pads the stem by 1 in the networks of one domain and whenever it
        tests, and by 2 while it trains the joint and the distilled network, whose weights it then
        runs with 1. Both take the same weights, on grids of 41 and 42 positions for an image of
        84: `stem_padding=1` gives the printed tests, `stem_padding=2` the released training, and
        `initialize_from` goes from the one to the other.

    Args:
        stem_padding: Rows and columns of zeros around the image, 1 or 2.
        width: Factor of all channel numbers.
        channels: Channels of the images.
        pooling: `"avg"` for one vector an image, or `None` for the map.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: Images of shape (batch, height, width, channels), by the papers in [-1, 1].
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        Features of shape (batch, 512 width), or a map of about a sixteenth of height and width,
        (batch, height / 16, width / 16, 512 width), without pooling.

    Raises:
        ValueError: If an argument is none of the above, or the images have other channels or are
            too small for the stem.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import ResNet18
        >>> network = ResNet18(width=0.125)
        >>> tuple(network(np.ones((2, 84, 84, 3), "float32")).shape)
        (2, 64)

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
        - He, Zhang, Ren, Sun. Deep residual learning for image recognition. CVPR 2016.
    """

    # Where CNAPS modulates: after the normalisations of the blocks, neither stem nor projections.
    film_pattern = r"stage\d_block\d/unit\d/normalization"

    def __init__(
        self,
        stem_padding: int = 1,
        width: float = 1.0,
        channels: int = 3,
        pooling: str | None = "avg",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for argument, value, known in (
            ("stem_padding", stem_padding, (1, 2)),
            ("pooling", pooling, ("avg", None)),
        ):
            if value not in known:
                raise ValueError(
                    f"`{argument}` must be one of {list(known)}. Received: {argument}={value!r}. "
                    "Pass one of these."
                )
        if not width > 0:
            raise ValueError(
                f"`width` must be positive. Received: width={width}. Pass 1.0 for the paper's."
            )
        self.stem_padding = stem_padding
        self.width = width
        self.channels = channels
        self.pooling = pooling
        sizes = [max(1, round(size * width)) for size in (64, 128, 256, 512)]
        self.filters = sizes[-1]
        self.stem = _unit(
            sizes[0], STEM_KERNEL, 2, stem_padding, name="stem", dtype=self.dtype_policy
        )
        self.blocks = [
            _Block(
                filters,
                # The stem already halved the image; the first stage keeps its size.
                strides=2 if number == 0 and stage != STAGES[0] else 1,
                name=f"{stage}_block{number + 1}",
                dtype=self.dtype_policy,
            )
            for stage, filters in zip(STAGES, sizes)
            for number in range(2)
        ]
        # Every channel count is known, so the weights exist from the start: nothing is created
        # inside a compiled step, and a fresh network can be counted, loaded and saved at once.
        self.build((None, None, None, channels))

    def build(self, input_shape: Shape) -> None:
        if self.built:
            return
        shape: Shape = (None, None, None, input_shape[-1])
        parts: tuple[_Unit | _Block, ...] = (self.stem, *self.blocks)
        for part in parts:
            part.build(shape)
            shape = part.compute_output_shape(shape)
        self.built: bool = True

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        self._check_images(images)
        x = ops.relu(self.stem(images, training=training))
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
            stem = [size and self._stem_size(size) for size in images.shape[1:3]]
            sizes = [size and -(-size // 8) for size in stem]
        return keras.KerasTensor((images.shape[0], *sizes, self.filters), self.compute_dtype)

    def _stem_size(self, size: int) -> int:
        return (size + 2 * self.stem_padding - STEM_KERNEL) // 2 + 1

    def _check_images(self, images: Tensor) -> None:
        shape = tuple(images.shape)
        least = STEM_KERNEL - 2 * self.stem_padding
        small = any(size is not None and size < least for size in shape[1:3])
        if len(shape) != 4 or shape[-1] != self.channels or small:
            raise ValueError(
                f"`images` of {self.name} must have shape (batch, height, width, {self.channels}) "
                f"with height and width from {least} on. Received: shape={shape}. "
                "Resize them, or stack single images into a batch."
            )

    def initialize_from(self, trunk: "ResNet18") -> None:
        """Copies all weights of another network, of either padding, into this one.

        Args:
            trunk: A network of the same width and channels.

        Raises:
            ValueError: If the widths or channels differ.
        """
        if trunk.width != self.width or trunk.channels != self.channels:
            raise ValueError(
                "`trunk` must have this network's width and channels. Received: "
                f"width={trunk.width}, channels={trunk.channels}; here {self.width}, "
                f"{self.channels}. Build one of them anew."
            )
        copy_weights(trunk, self)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "stem_padding": self.stem_padding,
            "width": self.width,
            "channels": self.channels,
            "pooling": self.pooling,
        }


class _Unit(keras.layers.Layer):
    """A convolution and the batch normalisation after it."""

    def __init__(self, convolution: Conv2D, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.convolution = convolution
        self.normalization = BatchNormalization(name="normalization", dtype=self.dtype_policy)

    def build(self, input_shape: Shape) -> None:
        self.convolution.build(input_shape)
        self.normalization.build(self.compute_output_shape(input_shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        # Only channels are asked for: the sizes of images are not known when weights are made.
        return (*input_shape[:-1], self.convolution.filters)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        return self.normalization(self.convolution(x), training=training)


def _unit(filters: int, size: int, strides: int, padding: int, **kwargs: Any) -> _Unit:
    convolution = Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=False,
        data_format="channels_last",
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        name="convolution",
        dtype=kwargs["dtype"],
    )
    return _Unit(convolution, **kwargs)


class _Block(keras.layers.Layer):
    """A residual block of two units, with a projection where the stride or the channels change."""

    def __init__(self, filters: int, strides: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unit1 = _unit(filters, 3, strides, 1, name="unit1", dtype=self.dtype_policy)
        self.unit2 = _unit(filters, 3, 1, 1, name="unit2", dtype=self.dtype_policy)
        self.projection = (
            _unit(filters, 1, strides, 0, name="projection", dtype=self.dtype_policy)
            if strides > 1
            else None
        )

    def build(self, input_shape: Shape) -> None:
        self.unit1.build(input_shape)
        self.unit2.build(self.unit1.compute_output_shape(input_shape))
        if self.projection is not None:
            self.projection.build(input_shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.unit2.compute_output_shape(self.unit1.compute_output_shape(input_shape))

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        y = ops.relu(self.unit1(x, training=training))
        y = self.unit2(y, training=training)
        if self.projection is not None:
            x = self.projection(x, training=training)
        return ops.relu(y + x)
