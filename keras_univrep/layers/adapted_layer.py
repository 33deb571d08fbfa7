"""What the adapters of a convolution have in common."""

from typing import Any

import keras
from keras import ops

from keras_univrep.types import Tensor

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


def check_convolution(convolution: keras.layers.Layer, owner: str) -> None:
    """Raises an error unless `convolution` is one that an adapter can be attached to.

    Args:
        convolution: The layer to adapt.
        owner: The adapter's class, for the error.

    Raises:
        TypeError: If it is not a `Conv1D`, `Conv2D` or `Conv3D`.
        ValueError: If a kernel size is even, or the data format is channels first.
    """
    if not isinstance(convolution, CONVOLUTIONS):
        raise TypeError(
            f"`convolution` of {owner} must be a keras.layers.Conv1D, Conv2D or Conv3D. "
            f"Received: {convolution!r}. Pass the layer itself, built or not."
        )
    if any(size % 2 == 0 for size in convolution.kernel_size):
        raise ValueError(
            f"{owner} sits on the centre tap of the kernel, so each kernel size must be odd. "
            f"Received: kernel_size={convolution.kernel_size}. "
            "Pad an even kernel by a row of zeros."
        )
    if convolution.data_format != "channels_last":
        raise ValueError(
            f"{owner} works on channels-last tensors. Received: data_format="
            f"{convolution.data_format!r}. Build the convolution with data_format='channels_last'."
        )


def convolve(
    convolution: keras.layers.Layer, inputs: Tensor, kernel: Tensor, branch: Tensor | None = None
) -> Tensor:
    """Runs `convolution` with `kernel` in place of its own, and its bias and activation.

    Args:
        convolution: A built convolution.
        inputs: Tensor of shape (batch, *spatial, channels).
        kernel: Tensor of the shape of the convolution's kernel.
        branch: Tensor of the shape of the output, added before bias and activation; or `None`.

    Returns:
        A tensor of shape (batch, *spatial, filters).
    """
    outputs = convolution.convolution_op(inputs, kernel)
    if branch is not None:
        outputs = outputs + branch
    if convolution.use_bias:
        outputs = outputs + ops.convert_to_tensor(convolution.bias)
    return outputs if convolution.activation is None else convolution.activation(outputs)


def fresh_initializer(initializer: Any) -> Any:
    """Returns an initializer that draws anew: an unseeded Keras one repeats itself otherwise."""
    return (
        initializer.clone()
        if isinstance(initializer, keras.initializers.Initializer)
        else initializer
    )


def restore_convolution(config: dict[str, Any]) -> keras.layers.Layer:
    """Makes the convolution of a saved adapter again, unbuilt.

    A convolution built before its adapter would have another path (`convolution/kernel` and not
    `adapted/convolution/kernel`), and keys of a `MultiOptimizer` would miss it after loading.

    Args:
        config: What `keras.saving.serialize_keras_object` made of the convolution.

    Returns:
        A convolution that is built together with its adapter.
    """
    config = {key: value for key, value in config.items() if key != "build_config"}
    return keras.saving.deserialize_keras_object(config)
