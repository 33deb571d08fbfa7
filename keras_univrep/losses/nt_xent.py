"""The contrastive loss of SimCLR."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.losses._features import at_least_float32, check_same_batch, unit_vectors
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class NTXent(keras.losses.Loss):
    """Cross-entropy of finding the other view of an image among all views of a batch.

    Equation:
        Chen et al. (2020), eq. 1, for the 2B views z_1 .. z_2B of B images, (i, j) two of one
        image and s the cosine:

            l_ij = -log(exp(s_ij / T) / (sum_(k != i) exp(s_ik / T))),   L = mean of all 2B l_ij

        | symbol | here | shape |
        |---|---|---|
        | z | `first` and `second` | (B, channels) each |
        | T | `temperature` | scalar |

    Differences: None known.

    Args:
        temperature: T; the source has 0.1 for ImageNet and 0.5 for CIFAR-10.
        reduction: As in `keras.losses.Loss`, over the B images.
        name: Name of the loss.
        dtype: Dtype of the result; the computation is in float32 or float64.

    Call arguments:
        first: Projections of one view of each image, (batch, channels).
        second: Projections of the other, (batch, channels).
        sample_weight: `None`, a scalar or `(batch,)`.

    Returns:
        A scalar in nats.

    Raises:
        ValueError: If the temperature is not positive, or the shapes do not match.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.losses import NTXent
        >>> same = np.ones((2, 4))
        >>> round(float(NTXent()(same, same)), 4)  # log 3: nothing tells the views apart
        1.0986

    References:
        - Chen, Kornblith, Norouzi, Hinton. A simple framework for contrastive learning of visual
          representations. ICML 2020.
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
    """

    def __init__(
        self,
        temperature: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "nt_xent",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if not temperature > 0.0:
            raise ValueError(
                "`temperature` must be positive. Received: "
                f"temperature={temperature}. Pass 0.1 for the source's."
            )
        self.temperature = temperature

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if len(y_true.shape) != 2 or tuple(y_true.shape[1:]) != tuple(y_pred.shape[1:]):
            raise ValueError(
                "Both views must have the shape (batch, channels). Received: "
                f"{tuple(y_true.shape)} and {tuple(y_pred.shape)}. Pool maps first."
            )
        check_same_batch("NTXent", y_true, y_pred)
        count = ops.shape(y_true)[0]
        views = ops.concatenate([at_least_float32(y_true), at_least_float32(y_pred)])
        views = unit_vectors(views, axis=-1)
        logits = ops.matmul(views, ops.transpose(views)) / self.temperature
        place = ops.arange(2 * count, dtype="int32")
        itself = place[:, None] == place[None, :]
        # As small as it takes to count for nothing, and finite, for the gradient.
        logits = ops.where(itself, np.float32(-1e9), logits)
        partner = ops.where(place < count, place + count, place - count)
        other = ops.cast(place[None, :] == partner[:, None], logits.dtype)
        right = ops.sum(ops.where(itself, 0.0, logits) * other, axis=-1)
        values = ops.logsumexp(logits, axis=-1) - right  # Chen et al. eq. 1
        return 0.5 * (values[:count] + values[count:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature, "dtype": self.dtype}
