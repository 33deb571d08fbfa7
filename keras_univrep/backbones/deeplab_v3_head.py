"""The head of DeepLabv3: atrous convolutions of several rates, and a map of the image's size."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.layers import BatchNormalization, BilinearResize, Conv2D
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class DeepLabV3Head(keras.layers.Layer):
    """Atrous spatial pyramid pooling, a classifier of positions, and bilinear enlargement.

    With `channels` classes it is a head of semantic segmentation, with 1 one of depth.

    Equation:
        Chen et al. (2017), section 3.3, with U a convolution, its batch normalisation and a ReLU:

            z = U_0 * [U_1 * x, U_r1 * x, .., U_rk * x, up(U_p * mean(x))],   y = up(W * z + b)

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs`, or of these the map `level` | (batch, height, width, its channels) |
        | U_1, U_0, U_p | 1x1; `branches[0]`, `projection`, `pooled` | `filters` channels |
        | U_r | 3x3 with r - 1 pixels between its taps; `branches` | `filters` channels |
        | W, b | `classifier`, 1x1 | (filters, channels), (channels,) |
        | y | outputs, of the size of the images | (batch, height, width, channels) |

    Differences: None known from that paper. torchvision has a further 3x3 convolution before the
        classifier and dropout behind U_0 (`dropout=0.5`). he2022 says "based on Deeplab v3" alone.

    Args:
        channels: Classes, or 1 for depth.
        filters: Channels of each branch.
        rates: Rates r of the atrous branches: (6, 12, 18) are for a map of stride 16, as many
            pixels wide as the largest or more.
        scale: Whole factor from the map to the images, its stride; or `None` with `size`.
        size: Height and width of the outputs; or `None` with `scale`.
        level: Name of the map to take where the inputs are a dictionary; the last one of the last
            stage otherwise must come by itself.
        dropout: Share of the channels of z that training drops.
        **kwargs: `name` and `dtype` of a Keras layer.

    Call arguments:
        inputs: Map of shape (batch, height, width, its channels), or `{level: map}`.
        training: As for any layer.

    Returns:
        A tensor of shape (batch, scale height, scale width, channels), or of height and width
        `size`; in float32 at least.

    Raises:
        ValueError: If an argument is out of its range, or the level is missing.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import DeepLabV3Head
        >>> head = DeepLabV3Head(5, filters=8, rates=(1, 2), scale=16)
        >>> tuple(head(np.ones((2, 4, 4, 6), "float32")).shape)
        (2, 64, 64, 5)

    References:
        - Chen, Papandreou, Schroff, Adam. Rethinking atrous convolution for semantic image
          segmentation. 2017.
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
    """

    def __init__(
        self,
        channels: int,
        filters: int = 256,
        rates: Sequence[int] = (6, 12, 18),
        scale: int | None = None,
        size: Sequence[int] | None = None,
        level: str | None = None,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(channels, filters, *rates) < 1 or not 0.0 <= dropout < 1.0:
            raise ValueError(
                "`channels`, `filters` and `rates` must be positive, and `dropout` in [0, 1). "
                f"Received: channels={channels}, filters={filters}, rates={tuple(rates)}, "
                f"dropout={dropout}. Change what is out of range."
            )
        self.channels = channels
        self.filters = filters
        self.rates = tuple(rates)
        self.scale = scale
        self.size = None if size is None else tuple(size)
        self.level = level
        self.dropout = dropout
        self.branches = [self._convolution("branch_1", 1)]
        self.branches += [
            self._convolution(f"branch_{number}", 3, rate)
            for number, rate in enumerate(self.rates, start=2)
        ]
        self.pooled = self._convolution("pooled", 1)
        self.projection = self._convolution("projection", 1)
        self.normalizations = [
            BatchNormalization(name=f"{layer.name}_normalization", dtype=self.dtype_policy)
            for layer in (*self.branches, self.pooled, self.projection)
        ]
        self.drop = keras.layers.SpatialDropout2D(
            dropout, data_format="channels_last", name="dropout", dtype=self.dtype_policy
        )
        self.classifier = Conv2D(
            channels, 1, data_format="channels_last", name="classifier", dtype=self.dtype_policy
        )
        self.resize = BilinearResize(scale, size, name="resize", dtype=self._output_dtype)

    def _convolution(self, name: str, taps: int, rate: int = 1) -> Conv2D:
        return Conv2D(
            self.filters,
            taps,
            padding=rate * (taps // 2),
            dilation_rate=rate,
            use_bias=False,
            data_format="channels_last",
            kernel_initializer="he_normal",
            name=name,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Any) -> None:
        shape = self._map_of(input_shape)
        inner = (None, None, None, self.filters)
        for layer in (*self.branches, self.pooled):
            layer.build((None, None, None, shape[-1]))
        joined = (len(self.branches) + 1) * self.filters
        self.projection.build((None, None, None, joined))
        for normalization in self.normalizations:
            normalization.build(inner)
        self.classifier.build(inner)
        self.built: bool = True

    def call(self, inputs: Tensor | Mapping[str, Tensor], training: bool | None = None) -> Tensor:
        x = self._map_of(inputs)
        *others, of_pooled, of_joined = self.normalizations
        parts = [
            ops.relu(normalization(layer(x), training=training))
            for layer, normalization in zip(self.branches, others, strict=True)
        ]
        mean = self.pooled(ops.mean(x, axis=(1, 2), keepdims=True))
        mean = ops.relu(of_pooled(mean, training=training))
        # Enlarged from one pixel, a map is constant.
        parts.append(mean + ops.zeros_like(parts[0]))
        x = self.projection(ops.concatenate(parts, axis=-1))
        x = self.drop(ops.relu(of_joined(x, training=training)), training=training)
        return self.resize(ops.cast(self.classifier(x), self._output_dtype))

    def _map_of(self, inputs: Any) -> Any:
        """The map, or its shape."""
        if not isinstance(inputs, Mapping):
            return inputs
        if self.level not in inputs:
            raise ValueError(
                "`level` must name one of the maps where there are several. Received: "
                f"level={self.level!r} with the maps {list(inputs)}. Pass one of these."
            )
        return inputs[self.level]

    def compute_output_spec(
        self, inputs: Tensor | Mapping[str, Tensor], training: bool | None = None
    ) -> keras.KerasTensor:
        """Returns the shape and dtype of the outputs, without computing them."""
        shape = self.compute_output_shape(self._map_of(inputs).shape)
        return keras.KerasTensor(shape, self._output_dtype)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """Returns the shape of the outputs."""
        shape = self._map_of(input_shape)
        return self.resize.compute_output_shape((*shape[:-1], self.channels))

    @property
    def _output_dtype(self) -> str:
        narrow = self.compute_dtype in ("float16", "bfloat16")
        return "float32" if narrow else self.compute_dtype

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "channels": self.channels,
            "filters": self.filters,
            "rates": list(self.rates),
            "scale": self.scale,
            "size": self.size,
            "level": self.level,
            "dropout": self.dropout,
        }
