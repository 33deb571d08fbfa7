"""Weights of a network's channels, from the labelled samples of a task."""

from typing import Any

import keras
from keras import ops

from keras_univrep.layers.task_attention import TaskAttention
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class AttentionModulator(keras.layers.Layer):
    """Looks at the embeddings and labels of a support set, and weighs the channels of a network.

    Equation:
        lekkala2020, section 4.2, for the samples n of a support set and layers l of attention:

            h_n = [x_n; e(y_n)]
            Q, K, V = h A, h B, h C;   h <- max(softmax(Q K^T / sqrt(d)) V, 0)   for each layer
            w = tanh(W mean_n h_n + b)
            o' = o (1 - w)   in `modulate`

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (tasks, samples, channels of the embedding) |
        | y, e(y) | `labels`, encoded | (tasks, samples, ...) |
        | d | `units` | |
        | w | outputs | (tasks, channels) |

    Differences: The paper prints neither sizes, nor what enters a layer of attention as a token,
        nor the range of w. Here samples are tokens, so that their order does not matter; embeddings
        that are maps are averaged over positions, without which the attention would have more
        parameters than the 10 % of the network that the paper adds; and w is in (-1, 1), so that a
        channel is damped or amplified and keeps its sign. An untrained modulator gives w = 0.

    Args:
        channels: Number of channels to weigh, of all layers together.
        layers: Number of layers of attention.
        units: Size of queries, keys and values.
        labels: `"classes"`, `"vector"` or `"map"`.
        label_size: Number of classes, of entries of a vector, or of channels of a map. Vectors are
            taken as they are, classes one-hot, and maps through three blocks of convolution (4
            filters), ReLU and 2x2 maximum.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Embeddings (tasks, samples, channels), or maps (tasks, samples, height, width,
            channels).
        labels: Integers (tasks, samples), vectors (tasks, samples, entries), or maps (tasks,
            samples, height, width, channels).
        mask: Booleans (tasks, samples), False for padding; `None` for samples alone.

    Returns:
        w, (tasks, channels), in (-1, 1).

    Raises:
        ValueError: If an argument is none of the above, or labels are of another shape.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import AttentionModulator
        >>> modulator = AttentionModulator(channels=128, label_size=5)
        >>> embeddings = np.random.normal(size=(2, 25, 32)).astype("float32")
        >>> weights = modulator(embeddings, np.tile(np.arange(5), (2, 5)))
        >>> tuple(weights.shape), float(ops.max(ops.abs(weights)))
        ((2, 128), 0.0)

    References:
        - Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
        - Vaswani et al. Attention is all you need. 2017.
    """

    def __init__(
        self,
        channels: int,
        layers: int = 2,
        units: int = 16,
        labels: str = "classes",
        label_size: int = 5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels, self.layers, self.units = channels, layers, units
        self.supports_masking = True
        self.labels, self.label_size = labels, label_size
        self.attention = TaskAttention(
            channels,
            ["weights"],
            layers,
            units,
            labels,
            label_size,
            name="attention",
            dtype=self.dtype_policy,
        )

    def build(self, input_shape: Shape) -> None:
        self.attention.build(input_shape)

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        """Returns None: there are no samples in what comes out.

        Args:
            inputs: Embeddings.
            previous_mask: Mask of the samples.
        """

    def call(self, inputs: Tensor, labels: Tensor, mask: Tensor | None = None) -> Tensor:
        (scores,) = self.attention(inputs, labels, mask=mask)
        return ops.tanh(scores)

    def compute_output_spec(
        self, inputs: Tensor, labels: Tensor, mask: Tensor | None = None
    ) -> keras.KerasTensor:
        """Returns the shape and dtype of the weights, without computing them."""
        return keras.KerasTensor((inputs.shape[0], self.channels), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "layers": self.layers,
            "units": self.units,
            "labels": self.labels,
            "label_size": self.label_size,
        }
