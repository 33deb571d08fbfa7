"""A distribution of weights of a network's channels, from the labelled samples of a task."""

from typing import Any

import keras
from keras import ops

from keras_univrep.layers.task_attention import TaskAttention
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class ProbabilisticAttentionModulator(keras.layers.Layer):
    """`AttentionModulator` with a Gaussian in place of a point.

    Equation:
        lekkala2020, section 4.2, with the attention a of `AttentionModulator`:

            z ~ N(mu, sigma^2),   mu, log sigma^2 = linear(a(x, y));   w = tanh(z)

        It is the prior p of a task on its support set, and the posterior q on its query set. What
        a training minimises is the loss of the queries under a sample of q, and KL(q || p):
        `losses.gaussian_kl`.

    Differences: The paper writes its bound with the sign of a loss beside an inequality for a log
        likelihood, and KL[p || q]; this is the negative evidence lower bound, NLL + KL(q || p). It
        prints nothing on the variance; here log sigma^2 starts at `initial_log_variance`. The
        Gaussian is that of z, before the tanh of the range of w; a divergence is the same before
        and after.

    Args:
        channels: As for `AttentionModulator`.
        layers: As for `AttentionModulator`.
        units: As for `AttentionModulator`.
        labels: As for `AttentionModulator`.
        label_size: As for `AttentionModulator`.
        initial_log_variance: log sigma^2 of an untrained modulator.
        seed: Of the samples.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: As for `AttentionModulator`.
        labels: As for `AttentionModulator`.
        mask: As for `AttentionModulator`.

    Returns:
        (mu, log sigma^2), (tasks, channels) each, float32 or wider; `sample` makes w of them.

    Raises:
        ValueError: As for `AttentionModulator`.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import ProbabilisticAttentionModulator
        >>> modulator = ProbabilisticAttentionModulator(channels=4, labels="vector", label_size=2)
        >>> mean, log_variance = modulator(np.ones((3, 5, 8)), np.ones((3, 5, 2)))
        >>> tuple(mean.shape), float(log_variance[0, 0])
        ((3, 4), -4.0)
        >>> tuple(modulator.sample(mean, log_variance).shape)
        (3, 4)

    References:
        - Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
        - Garnelo et al. Neural processes. 2018.
    """

    def __init__(
        self,
        channels: int,
        layers: int = 2,
        units: int = 16,
        labels: str = "classes",
        label_size: int = 5,
        initial_log_variance: float = -4.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.channels, self.layers, self.units = channels, layers, units
        self.supports_masking = True
        self.labels, self.label_size = labels, label_size
        self.initial_log_variance = initial_log_variance
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.attention = TaskAttention(
            channels,
            ["mean", "log_variance"],
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

    def call(
        self, inputs: Tensor, labels: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        mean, shift = self.attention(inputs, labels, mask=mask)
        # Variances of low precision would underflow.
        wide = keras.backend.result_type(mean.dtype, "float32")
        return ops.cast(mean, wide), ops.cast(shift, wide) + self.initial_log_variance

    def sample(self, mean: Tensor, log_variance: Tensor | None = None) -> Tensor:
        """Weights of channels, with a gradient for both numbers.

        Args:
            mean: mu, (tasks, channels).
            log_variance: log sigma^2, (tasks, channels); `None` for the weights at the mean.

        Returns:
            w, (tasks, channels), in (-1, 1).
        """
        mean = ops.convert_to_tensor(mean)
        if log_variance is None:
            return ops.tanh(mean)
        log_variance = ops.convert_to_tensor(log_variance)
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self.seed_generator)
        return ops.tanh(mean + ops.exp(0.5 * log_variance) * noise)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "channels": self.channels,
            "layers": self.layers,
            "units": self.units,
            "labels": self.labels,
            "label_size": self.label_size,
            "initial_log_variance": self.initial_log_variance,
            "seed": self.seed,
        }
