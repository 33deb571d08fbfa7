"""The embedding of a task: the mean of what a small network makes of its images."""

from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.layers.batch_normalization import BatchNormalization
from keras_univrep.layers.conv2d import Conv2D
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class SetEncoder(keras.layers.Layer):
    """Embeds sets of images, whatever their order.

    Equation:
        CNAPS section 2.1, the global embedding of the support set S of a task:

            z_G = 1/|S| sum_(x in S) phi(x)

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs`, those with a true `counts` | (episodes, samples, height, width, channels) |
        | phi | `blocks` times convolution, normalisation, ReLU and 2x2 maximum; then the mean | |
        | z_G | outputs | (episodes, filters) |

    Differences: Padding does not count, neither in the mean nor, in training, in the statistics of
        the batch; the paper takes one episode at a time and has none.

    Args:
        filters: Channels of each convolution and of the embedding.
        blocks: Number of blocks; each halves the image.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Images of shape (episodes, samples, height, width, channels).
        counts: Booleans (episodes, samples), true for images that count; `None` for all.
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        Embeddings of shape (episodes, filters); zeros for a set without images.

    Raises:
        ValueError: If the images are too small for the blocks.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import SetEncoder
        >>> tuple(SetEncoder(filters=8, blocks=2)(np.ones((2, 5, 16, 16, 3), "float32")).shape)
        (2, 8)

    References:
        - Requeima, Gordon, Bronskill, Nowozin, Turner. Fast and flexible multi-task classification
          using conditional neural adaptive processes. 2019.
        - Zaheer et al. Deep sets. 2017.
    """

    def __init__(self, filters: int = 64, blocks: int = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("blocks", blocks)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value!r}. Pass 64 "
                    "filters and 5 blocks for those of CNAPS."
                )
        self.filters = filters
        self.blocks = blocks
        self.convolutions = [
            Conv2D(
                filters,
                3,
                padding="same",
                data_format="channels_last",
                name=f"convolution{number + 1}",
                dtype=self.dtype_policy,
            )
            for number in range(blocks)
        ]
        self.normalizations = [
            BatchNormalization(name=f"normalization{number + 1}", dtype=self.dtype_policy)
            for number in range(blocks)
        ]

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        for convolution, normalization in zip(self.convolutions, self.normalizations):
            convolution.build((None, None, None, channels))
            normalization.build((None, None, None, self.filters))
            channels = self.filters

    def call(
        self, inputs: Tensor, counts: Tensor | None = None, training: bool | None = None
    ) -> Tensor:
        _check_images(tuple(inputs.shape), self.blocks, self.name)
        x = ops.reshape(inputs, (-1, *inputs.shape[2:]))
        counted = None
        if counts is not None:
            counted = ops.reshape(ops.cast(counts, "bool"), (-1, 1, 1))
        for convolution, normalization in zip(self.convolutions, self.normalizations):
            x = convolution(x)
            here = None
            if training and counted is not None:
                here = ops.broadcast_to(counted, ops.shape(x)[:-1])
            x = ops.relu(backend.max_pool(normalization(x, training=training, mask=here), 2))
        # Means of low precision would lose what the images differ in.
        x = ops.mean(ops.cast(x, "float32"), axis=(1, 2))
        samples = inputs.shape[1] or ops.shape(inputs)[1]
        x = ops.reshape(x, (-1, samples, self.filters))
        return ops.cast(masked_mean(x, counts), self.compute_dtype)

    def compute_output_spec(
        self, inputs: Tensor, counts: Tensor | None = None, training: bool | None = None
    ) -> keras.KerasTensor:
        """Returns the shape and dtype of the embeddings, without running the network."""
        _check_images(tuple(inputs.shape), self.blocks, self.name)
        return keras.KerasTensor((inputs.shape[0], self.filters), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "filters": self.filters, "blocks": self.blocks}


def masked_mean(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the samples that count; zeros where none does.

    Args:
        x: (episodes, samples, channels).
        mask: Booleans (episodes, samples), or `None` for all.

    Returns:
        Tensor of shape (episodes, channels).
    """
    if mask is None:
        return ops.mean(x, axis=1)
    counted = ops.cast(mask, "bool")[..., None]
    number = ops.sum(ops.cast(counted, x.dtype), axis=1)
    # `where`, not a product: padding may hold anything, infinities included.
    return ops.sum(ops.where(counted, x, ops.zeros_like(x)), axis=1) / ops.maximum(number, 1.0)


def _check_images(shape: tuple[int | None, ...], blocks: int, owner: str) -> None:
    least = 2**blocks
    if len(shape) != 5 or any(size is None or size < least for size in shape[2:4]):
        raise ValueError(
            f"`inputs` of {owner} must be images of known size (episodes, samples, height, width, "
            f"channels), of {least} pixels or more for {blocks} blocks. Received: shape={shape}. "
            "Resize the images, or lower `blocks`."
        )
