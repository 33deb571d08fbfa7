"""Batch normalisation that may be differentiated twice."""

from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation with right second-order gradients on every backend.

    Equation:
        Training, over the N counted positions of each channel (Ioffe and Szegedy, 2015):

            mean = sum_i x_i / N
            variance = sum_i (x_i - mean)^2 / N
            y_i = gamma (x_i - mean) / sqrt(variance + epsilon) + beta

        | symbol         | here                    | shape       |
        |----------------|-------------------------|-------------|
        | x, y           | `inputs`, outputs       | (batch, ..., channels) |
        | mean, variance | of the batch            | (channels,) |
        | gamma, beta    | `gamma`, `beta`         | (channels,) |

        Inference takes `moving_mean` and `moving_variance`, which training moves by
        `moving = momentum * moving + (1 - momentum) * batch`.

    Differences:
        From `keras.layers.BatchNormalization`: the variance's gradient flows through the mean on
        TensorFlow too, where Keras cuts it and meta-gradients come out wrong without a word; a
        mask follows `axis`, and one channel can be masked; the defaults are those of the papers'
        PyTorch code. From PyTorch: the moving variance averages the biased variance, not the
        unbiased one, and `momentum` is the share of the old value (PyTorch's is the new value's).

    Args:
        axis: Axis of the channels.
        momentum: Share of the old value in a moving statistic, in [0, 1).
        epsilon: Positive number added to the variance.
        **kwargs: Other arguments of `keras.layers.BatchNormalization`. With `synchronized=True`
            (TensorFlow) Keras computes the statistics, and only first-order gradients are right.

    Call arguments:
        inputs: (batch, ..., channels) for `axis=-1`. Statistics are float32 or wider.
        training: Whether to use the statistics of the batch and to move the moving ones.
        mask: Booleans of the shape of `inputs` without `axis`, True where a position counts
            towards the statistics. With none counted, mean and variance are 0.

    Returns:
        Tensor of the shape of `inputs`, in the compute dtype.

    Raises:
        ValueError: If `mask` does not have one dimension less than `inputs`.

    Example:

    >>> from keras_univrep.layers import BatchNormalization
    >>> layer = BatchNormalization()
    >>> layer(ops.ones((2, 8, 8, 16)), training=True).shape == (2, 8, 8, 16)
    True
    """

    def __init__(
        self, axis: int = -1, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs: Any
    ) -> None:
        super().__init__(axis=axis, momentum=momentum, epsilon=epsilon, **kwargs)

    def call(
        self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None
    ) -> Tensor:
        last = self.axis in (-1, len(inputs.shape) - 1)
        own = self.center and self.scale and last and not (self.synchronized or self.renorm)
        if mask is not None or not own:
            return super().call(inputs, training=training, mask=mask)
        # Half precision is too coarse for statistics.
        narrow = keras.backend.standardize_dtype(inputs.dtype) in ("float16", "bfloat16")
        x = ops.cast(inputs, "float32") if narrow else inputs
        learns = bool(training) and self.trainable
        outputs, mean, variance = backend.batch_normalization(
            x,
            self.gamma,
            self.beta,
            self.epsilon,
            None if learns else (self.moving_mean, self.moving_variance),
        )
        if learns:
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                old = ops.cast(moving, x.dtype)
                moving.assign(
                    ops.cast(old * self.momentum + batch * (1.0 - self.momentum), moving.dtype)
                )
        return ops.cast(outputs, self.compute_dtype)

    def _moments(self, inputs: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and variance, (channels,) each; Keras's hook for the statistics of the batch."""
        axes = self._reduction_axes
        if mask is None and self.synchronized:
            return super()._moments(inputs, mask)
        # Not `ops.moments`: on TensorFlow it takes the mean in the variance for a constant, which
        # is right for first derivatives only.
        if mask is None:
            mean = ops.mean(inputs, axis=axes, keepdims=True)
            variance = ops.mean(ops.square(inputs - mean), axis=axes)
        else:
            counted = ops.cast(ops.expand_dims(ops.cast(mask, "bool"), self.axis), inputs.dtype)
            counted = ops.broadcast_to(counted, ops.shape(inputs))
            number = ops.maximum(ops.sum(counted, axis=axes, keepdims=True), 1)
            # `where`, not a product: padding may hold anything, infinities included.
            inputs = ops.where(counted > 0, inputs, 0)
            mean = ops.sum(inputs, axis=axes, keepdims=True) / number
            centred = ops.where(counted > 0, inputs - mean, 0)
            variance = ops.sum(ops.square(centred) / number, axis=axes)
        return ops.reshape(mean, ops.shape(variance)), variance
