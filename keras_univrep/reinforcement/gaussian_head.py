"""The head of a policy: a normal distribution of actions."""

import math
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class GaussianHead(keras.layers.Layer):
    """Means of actions, by a dense layer, and the logarithms of their standard deviations.

    Equation:
        The policy of shu2021, section 5.1, as Finn et al. (2017) have it, for features x:

            pi(a | x) = N(a; W x + b, diag(exp(2 max(s, log min_std))))

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, channels) |
        | W, b | `kernel`, `bias` | (channels, actions), (actions,) |
        | s | `log_std`, learned and the same for each state | (actions,) |

    Args:
        actions: Numbers of an action.
        initial_std: Standard deviations at first, positive.
        min_std: The smallest there may be, positive.
        kernel_initializer: Initializer of the kernel.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Features of shape (batch, channels).

    Returns:
        Means, then logarithms of standard deviations, (batch, 2 actions).

    Raises:
        ValueError: If `actions`, `initial_std` or `min_std` is not positive.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.reinforcement import GaussianHead
        >>> tuple(GaussianHead(2)(np.ones((3, 8), "float32")).shape)
        (3, 4)

    References:
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
        - Finn, Abbeel, Levine. Model-agnostic meta-learning for fast adaptation of deep networks.
          2017.
    """

    def __init__(
        self,
        actions: int,
        initial_std: float = 1.0,
        min_std: float = 1e-6,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(actions, bool) or not isinstance(actions, int) or actions < 1:
            raise ValueError(
                f"`actions` must be a positive integer. Received: actions={actions!r}. Pass the "
                "environment's `action_size`."
            )
        if not (initial_std > 0 and min_std > 0):
            raise ValueError(
                "`initial_std` and `min_std` must be positive. Received: "
                f"initial_std={initial_std}, min_std={min_std}. Pass 1.0 and 1e-6 for the usual."
            )
        self.actions = actions
        self.initial_std = float(initial_std)
        self.min_std = float(min_std)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Shape) -> None:
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.actions),
            initializer=self.kernel_initializer,
            name="kernel",
        )
        self.bias = self.add_weight(shape=(self.actions,), initializer="zeros", name="bias")
        self.log_std = self.add_weight(
            shape=(self.actions,),
            initializer=keras.initializers.Constant(math.log(self.initial_std)),
            name="log_std",
        )

    def call(self, inputs: Tensor) -> Tensor:
        kernel, bias, log_std = (
            ops.convert_to_tensor(v) for v in (self.kernel, self.bias, self.log_std)
        )
        means = ops.matmul(inputs, kernel) + bias
        spread = ops.maximum(log_std, ops.cast(math.log(self.min_std), log_std.dtype))
        return ops.concatenate([means, ops.broadcast_to(spread, ops.shape(means))], axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], 2 * self.actions)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "actions": self.actions,
            "initial_std": self.initial_std,
            "min_std": self.min_std,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
