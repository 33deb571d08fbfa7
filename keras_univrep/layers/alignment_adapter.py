"""Alignment adapters: from universal features to the space of one teacher's features."""

from typing import Any

import keras
from keras import ops

from keras_univrep.layers.adapted_layer import fresh_initializer
from keras_univrep.types import Shape, Tensor

KINDS = ("linear", "nonlinear", "none")


@keras.saving.register_keras_serializable(package="keras_univrep")
class AlignmentAdapter(keras.layers.Layer):
    """Maps universal features into the feature space of one teacher, position by position.

    Equation:
        li2022, eq. 3, the adapter a of task t with its parameters theta_t:

            a(z) = z W                       linear
            a(z) = max(z W_1, 0) W_2         nonlinear
            a(z) = z                         none

        | symbol | here | shape |
        |---|---|---|
        | z | `inputs` | (batch, channels) or (batch, *spatial, channels) |
        | W | `kernel` | (channels, units) |
        | W_1, W_2 | `hidden_kernel`, `kernel` | (channels, 2 channels), (2 channels, units) |

    Args:
        units: Channels of the teacher's features, or `None` for as many as the inputs have.
        kind: `"linear"`, `"nonlinear"` or `"none"`.
        kernel_initializer: Initializer of the matrices.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, channels) or (batch, *spatial, channels).

    Returns:
        A tensor of the shape of `inputs` with `units` channels.

    Raises:
        ValueError: If `kind` is unknown, or is `"none"` and `units` differs from the channels.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import AlignmentAdapter
        >>> tuple(AlignmentAdapter(units=16)(np.ones((2, 4, 4, 8), "float32")).shape)
        (2, 4, 4, 16)

    References:
        Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
        learning. 2022.
    """

    def __init__(
        self,
        units: int | None = None,
        kind: str = "linear",
        kernel_initializer: Any = "glorot_normal",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {list(KINDS)}. Received: kind={kind!r}.")
        self.units = units
        self.kind = kind
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        channels = input_shape[-1]
        units = channels if self.units is None else self.units
        if self.kind == "none":
            if units != channels:
                raise ValueError(
                    "Without an adapter the teacher must have as many channels as the student. "
                    f"Received: units={units}, channels={channels}. Use kind='linear'."
                )
            return
        hidden = channels
        if self.kind == "nonlinear":
            hidden = 2 * channels  # type: ignore[operator]  # Known whenever weights are made.
            self.hidden_kernel = self.add_weight(
                shape=(channels, hidden),
                initializer=fresh_initializer(self.kernel_initializer),
                name="hidden_kernel",
            )
        self.kernel = self.add_weight(
            shape=(hidden, units), initializer=self.kernel_initializer, name="kernel"
        )

    def call(self, inputs: Tensor) -> Tensor:
        if self.kind == "none":
            return inputs
        z = inputs
        if self.kind == "nonlinear":
            z = ops.relu(ops.matmul(z, self.hidden_kernel))
        return ops.matmul(z, self.kernel)  # li2022 eq. 3, a

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.units or input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "kind": self.kind,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
