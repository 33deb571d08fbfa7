"""Weights of channels, where zero changes nothing."""

from keras import ops

from keras_univrep.types import Tensor


def modulate(inputs: Tensor, weights: Tensor) -> Tensor:
    """Takes from each channel the share that its weight says.

    Equation:
        lekkala2020, section 4.2:

            o' = o (1 - w)

        | symbol | here | shape |
        |---|---|---|
        | o | `inputs` | (batch, ..., channels) |
        | w | `weights` | (channels,) or (batch, channels) |

    Differences: The paper says that w starts at ones and that f(I) is f(I, 1), and writes the
        factor 1 - w, which would then be zero. Here w = 0 leaves the network as it is.

    Args:
        inputs: Outputs of a layer.
        weights: One number for each channel.

    Returns:
        Tensor of the shape of `inputs`.

    Example:
        >>> from keras_univrep.layers import modulate
        >>> [float(x) for x in modulate(ops.ones((1, 3)), [0.0, 0.5, 1.0])[0]]
        [1.0, 0.5, 0.0]

    References:
        Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
    """
    weights = ops.cast(ops.convert_to_tensor(weights), inputs.dtype)
    if len(weights.shape) > 1:
        spatial = (1,) * (len(inputs.shape) - 2)
        weights = ops.reshape(weights, (-1, *spatial, weights.shape[-1]))
    return inputs * (1.0 - weights)  # lekkala2020 sec. 4.2
