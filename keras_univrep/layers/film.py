"""Feature-wise linear modulation, with a scale and a shift for each episode."""

from typing import Any

import keras
from keras import ops

from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class FiLM(keras.layers.Layer):
    """Scales and shifts the channels by numbers that come with the call.

    Equation:
        Perez et al., 2018, eq. 2; CNAPS section 2.1, for channel c of a map of episode e:

            y_c = gamma_(e,c) x_c + beta_(e,c)

        | symbol | here | shape |
        |---|---|---|
        | x, y | `inputs`, outputs | (batch, *spatial, channels) |
        | gamma, beta | `gamma`, `beta` | (channels,), or (episodes, channels) |

    Args:
        **kwargs: `name` and `dtype` of a Keras layer.

    Call arguments:
        inputs: (batch, *spatial, channels). With several episodes the samples of an episode lie
            together, and all have equally many: batch = episodes * samples.
        gamma: Scales, (channels,) for the whole batch, or (episodes, channels).
        beta: Shifts, as `gamma`.

    Returns:
        A tensor of the shape of `inputs`.

    Raises:
        ValueError: If scales and shifts do not have the channels of the inputs, or the batch cannot
            be divided among the episodes.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import FiLM
        >>> x = np.ones((4, 2), "float32")
        >>> gamma, beta = np.array([[2.0, 3.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [5.0, 6.0]])
        >>> np.array(FiLM()(x, gamma, beta)).tolist()
        [[3.0, 3.0], [3.0, 3.0], [5.0, 6.0], [5.0, 6.0]]

    References:
        - Perez, Strub, de Vries, Dumoulin, Courville. FiLM: visual reasoning with a general
          conditioning layer. 2018.
        - Requeima, Gordon, Bronskill, Nowozin, Turner. Fast and flexible multi-task classification
          using conditional neural adaptive processes. 2019.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.built = True

    def call(self, inputs: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        _check(inputs.shape, gamma.shape, beta.shape)
        gamma, beta = (ops.cast(value, inputs.dtype) for value in (gamma, beta))
        if len(gamma.shape) == 1:
            return gamma * inputs + beta
        # The positions of all samples of an episode in one row: nothing is copied.
        channels = inputs.shape[-1]
        rows = ops.reshape(inputs, (ops.shape(gamma)[0], -1, channels))
        outputs = gamma[:, None] * rows + beta[:, None]  # Perez et al. eq. 2
        return ops.reshape(outputs, ops.shape(inputs))

    def compute_output_spec(self, inputs: Tensor, gamma: Tensor, beta: Tensor) -> keras.KerasTensor:
        """Returns the shape and dtype of the inputs."""
        _check(inputs.shape, gamma.shape, beta.shape)
        return keras.KerasTensor(inputs.shape, self.compute_dtype)


def _check(inputs: Shape, gamma: Shape, beta: Shape) -> None:
    batch, channels, rank = inputs[0], inputs[-1], len(gamma)
    matched = tuple(gamma) == tuple(beta) and rank in (1, 2) and gamma[-1] == channels
    if not matched or (rank == 2 and batch and gamma[0] and batch % gamma[0]):
        raise ValueError(
            "`gamma` and `beta` of FiLM must be of shape (channels,), or (episodes, channels) with "
            f"a batch that is a multiple of episodes. Received: inputs {tuple(inputs)}, gamma "
            f"{tuple(gamma)}, beta {tuple(beta)}. Give one row of channels to each episode."
        )
