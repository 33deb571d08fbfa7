"""A linear classifier of directions."""

from typing import Any

import keras
from keras import ops

from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class CosineClassifier(keras.layers.Layer):
    """Scores classes by the cosine between features and one learned vector of each class.

    Equation:
        Chen et al., 2019, section 3.1 (Baseline++), for features x and class vectors w_k:

            s_k = scale x . w_k / (|x| |w_k|)

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, channels) |
        | w_k | columns of `kernel` | (channels, units) |
        | s | outputs, logits | (batch, units) |

    Differences: The paper prints no scale; its code takes 2 up to 200 classes and 10 above, as here
        where `scale` is `None`. That code's weight normalisation has a learned length besides,
        which it makes no use of.

    Args:
        units: Number of classes.
        scale: A positive number, or `None`.
        kernel_initializer: Initializer of the class vectors.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Features of shape (batch, channels).

    Returns:
        Logits of shape (batch, units).

    Raises:
        ValueError: If `units` or `scale` is not positive.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import CosineClassifier
        >>> tuple(CosineClassifier(5)(np.ones((2, 8), "float32")).shape)
        (2, 5)

    References:
        Chen, Liu, Kira, Wang, Huang. A closer look at few-shot classification. ICLR 2019.
    """

    def __init__(
        self,
        units: int,
        scale: float | None = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise ValueError(
                f"`units` must be a positive integer. Received: units={units!r}. Pass the number "
                "of classes."
            )
        if scale is not None and not scale > 0:
            raise ValueError(
                f"`scale` must be positive or None. Received: scale={scale!r}. Pass None for the "
                "one that suits the number of classes."
            )
        self.units = units
        self.scale = float((2.0 if units <= 200 else 10.0) if scale is None else scale)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.units), initializer=self.kernel_initializer, name="kernel"
        )

    def call(self, inputs: Tensor) -> Tensor:
        kernel = ops.normalize(ops.convert_to_tensor(self.kernel), axis=0)
        return self.scale * ops.matmul(ops.normalize(inputs, axis=-1), kernel)  # sec. 3.1

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "scale": self.scale,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
