"""Attention over the samples of a task, which gives numbers of the task."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.layers.label_encoder import LabelEncoder
from keras_univrep.layers.set_encoder import masked_mean
from keras_univrep.types import Shape, Tensor

_FAR = -1e9


class TaskAttention(keras.layers.Layer):
    """Stacked attention over embeddings and labels, then as many linear outputs as asked for."""

    def __init__(
        self,
        channels: int,
        outputs: Sequence[str],
        layers: int,
        units: int,
        labels: str,
        label_size: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("channels", channels), ("layers", layers), ("units", units)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value!r}. Pass the "
                    "channels that are to be modulated, 2 layers and 16 units, for example."
                )
        self.supports_masking = True
        self.channels, self.units = channels, units
        self.encoder = LabelEncoder(labels, label_size, name="labels", dtype=self.dtype_policy)
        self.projections = [
            keras.layers.Dense(3 * units, use_bias=False, name=f"projection{number + 1}",
                               dtype=self.dtype_policy)
            for number in range(layers)
        ]  # fmt: skip
        # From zero, so that an untrained modulator changes nothing.
        self.heads = [
            keras.layers.Dense(channels, kernel_initializer="zeros", name=name,
                               dtype=self.dtype_policy)
            for name in outputs
        ]  # fmt: skip

    def build(self, input_shape: Shape) -> None:
        self.encoder.build()
        size = int(input_shape[-1] or 0) + self.encoder.units
        for projection in self.projections:
            projection.build((None, None, size))
            size = self.units
        for head in self.heads:
            head.build((None, size))
        self.built: bool = True

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        """Returns None: there are no samples in what comes out.

        Args:
            inputs: Embeddings.
            previous_mask: Mask of the samples.
        """

    def call(self, inputs: Tensor, labels: Tensor, mask: Tensor | None = None) -> list[Tensor]:
        x = inputs
        if len(x.shape) > 3:
            axes = tuple(range(2, len(x.shape) - 1))
            x = ops.mean(ops.cast(x, "float32"), axis=axes)
        if len(x.shape) != 3:
            raise ValueError(
                "`inputs` must be embeddings (tasks, samples, channels), or maps of them. "
                f"Received: shape {tuple(inputs.shape)}. Stack the samples of each task."
            )
        x = ops.cast(x, self.compute_dtype)
        x = ops.concatenate([x, self.encoder(ops.convert_to_tensor(labels))], axis=-1)
        for projection in self.projections:
            query, key, value = ops.split(projection(x), 3, axis=-1)
            scores = ops.matmul(query, ops.swapaxes(key, 1, 2))
            scores = ops.cast(scores, "float32") / self.units**0.5
            if mask is not None:
                counted = ops.cast(mask, "bool")[:, None, :]
                scores = ops.where(counted, scores, ops.cast(_FAR, scores.dtype))
            weights = ops.cast(ops.softmax(scores, axis=-1), value.dtype)
            x = ops.relu(ops.matmul(weights, value))
        x = ops.cast(masked_mean(ops.cast(x, "float32"), mask), self.compute_dtype)
        return [head(x) for head in self.heads]
