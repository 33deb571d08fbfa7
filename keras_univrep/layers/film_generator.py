"""The network that makes the scales and shifts of FiLM from the embedding of a task."""

from typing import Any

import keras
from keras import ops

from keras_univrep.types import Shape, Tensor

LAYERS = 3


@keras.saving.register_keras_serializable(package="keras_univrep")
class FiLMGenerator(keras.layers.Layer):
    """Maps the embedding of a task to the FiLM parameters of layers with equally many channels.

    Equation:
        CNAPS section 2.1, the adaptation network of one stage; for parameter p of 2 `count`, with
        r(h) = W h + b + h, each r of its own:

            h = max(W z + b, 0)
            a_p = r(max(r(max(r(h), 0)), 0))
            gamma_l = 1 + s_p a_p,   beta_l = s_q a_q

        | symbol | here | shape |
        |---|---|---|
        | z | `inputs` | (episodes, channels) |
        | gamma, beta | outputs | (episodes, count, filters) each |
        | s | `scale`, of `gamma` first | (2, count, filters) |

    Differences:
        The paper gives no sizes; these are those of its code. There s starts at N(0, 0.001^2), and
        the four vectors of a block lie in the same memory and so stay equal; here s starts at
        zero, so that an untrained generator changes nothing, and each is of its own. With the
        auto-regressive embedding each parameter of that code has a first layer of its own; here
        they share it.

    Args:
        filters: Channels of the layers that are modulated.
        count: Number of these layers.
        scale_initializer: Initializer of s.
        scale_regularizer: Regularizer of s, or `None`. CNAPS has the squares times 0.001.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Embeddings of tasks, (episodes, channels).

    Returns:
        Scales and shifts, `(gamma, beta)`, of shape (episodes, count, filters) each.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import FiLMGenerator
        >>> gamma, beta = FiLMGenerator(filters=8, count=4)(np.ones((2, 16), "float32"))
        >>> tuple(gamma.shape), float(ops.max(gamma)), float(ops.max(beta))
        ((2, 4, 8), 1.0, 0.0)

    References:
        Requeima, Gordon, Bronskill, Nowozin, Turner. Fast and flexible multi-task classification
        using conditional neural adaptive processes. 2019.
    """

    def __init__(
        self,
        filters: int,
        count: int = 1,
        scale_initializer: Any = "zeros",
        scale_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("count", count)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. Received: {name}={value!r}. Pass the "
                    "channels of the layers, and how many there are."
                )
        self.filters = filters
        self.count = count
        self.scale_initializer = keras.initializers.get(scale_initializer)
        self.scale_regularizer = keras.regularizers.get(scale_regularizer)

    def build(self, input_shape: Shape) -> None:
        size, vectors = self.filters, 2 * self.count
        self.kernel = self.add_weight(
            shape=(input_shape[-1], size), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(size,), initializer="zeros", name="bias")
        bound = (3.0 / size) ** 0.5
        # One tensor for the matrices of all parameters, which are multiplied together.
        self.residual_kernels = [
            self.add_weight(
                shape=(vectors, size, size),
                initializer=keras.initializers.RandomUniform(-bound, bound),
                name=f"residual_kernel{number}",
            )
            for number in range(LAYERS)
        ]
        self.residual_biases = [
            self.add_weight(
                shape=(vectors, 1, size), initializer="zeros", name=f"residual_bias{number}"
            )
            for number in range(LAYERS)
        ]
        self.scale = self.add_weight(
            shape=(2, self.count, size),
            initializer=self.scale_initializer,
            regularizer=self.scale_regularizer,
            name="scale",
        )

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        shared = ops.relu(ops.matmul(inputs, self.kernel) + self.bias)
        x = ops.repeat(shared[None], 2 * self.count, axis=0)
        for number, (kernel, bias) in enumerate(zip(self.residual_kernels, self.residual_biases)):
            x = ops.relu(x) if number else x
            x = ops.matmul(x, kernel) + bias + x
        # (parameters, episodes, filters) -> (2, count, episodes, filters)
        x = ops.reshape(x, (2, self.count, -1, self.filters)) * self.scale[:, :, None]
        x = ops.transpose(x, (0, 2, 1, 3))
        return 1.0 + x[0], x[1]

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        shape = (input_shape[0], self.count, self.filters)
        return shape, shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "count": self.count,
            "scale_initializer": keras.initializers.serialize(self.scale_initializer),
            "scale_regularizer": keras.regularizers.serialize(self.scale_regularizer)
            if self.scale_regularizer
            else None,
        }
