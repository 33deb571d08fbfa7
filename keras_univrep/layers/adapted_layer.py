"""What everything that adapts a layer has in common: checks, and running the layer anew."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep import backend
from keras_univrep.layers.conv2d import Conv2D
from keras_univrep.types import Tensor

CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
KINDS = (Conv2D, *CONVOLUTIONS, keras.layers.DepthwiseConv2D, keras.layers.Dense)
# What a convolution does between its padding and its bias, if it is nobody's own; Dense has none.
HOOKS = (None, keras.layers.Conv2D.convolution_op, Conv2D.convolution_op)


def check_layer(layer: keras.layers.Layer, owner: str, odd: bool = True) -> None:
    """Raises an error unless `layer` is one that an adapter can be attached to.

    Args:
        layer: The layer to adapt.
        owner: The adapter's class, for the error.
        odd: Whether the kernel needs a centre tap.

    Raises:
        TypeError: If it is no `Conv1D`, `Conv2D`, `Conv3D`, `DepthwiseConv2D` or `Dense`, or a
            subclass that computes something else.
        ValueError: If a kernel size is even, or the data format is channels first.
    """
    kind = next((kind for kind in KINDS if isinstance(layer, kind)), None)
    own = getattr(type(layer), "convolution_op", None) not in HOOKS
    if kind is None or type(layer).call is not kind.call or own:
        raise TypeError(
            f"`layer` of {owner} must be a keras.layers.Conv1D, Conv2D, Conv3D, DepthwiseConv2D or "
            "Dense with the `call` and `convolution_op` of that class. "
            f"Received: {layer!r}. Pass the layer itself, built or not."
        )
    if odd and any(size % 2 == 0 for size in getattr(layer, "kernel_size", ())):
        raise ValueError(
            f"{owner} sits on the centre tap of the kernel, so each kernel size must be odd. "
            f"Received: kernel_size={layer.kernel_size}. "
            "Pad an even kernel by a row of zeros."
        )
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        raise ValueError(
            f"{owner} works on channels-last tensors. Received: data_format="
            f"{layer.data_format!r}. Build the layer with data_format='channels_last'."
        )


def filters_of(layer: keras.layers.Layer) -> int:
    """Returns the number of channels that a built layer gives."""
    shape = tuple(layer.kernel.shape)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return shape[-2] * shape[-1]
    return shape[-1]


def adapter_shape(layer: keras.layers.Layer) -> tuple[int, ...]:
    """Returns the shape of a 1x1 filter bank over the inputs of a built layer."""
    shape = tuple(layer.kernel.shape)
    return (1,) * (len(shape) - 2) + shape[-2:]


def run(
    layer: keras.layers.Layer,
    inputs: Tensor,
    kernel: Tensor | None = None,
    adapter: Tensor | None = None,
) -> Tensor:
    """Runs `layer` without its bias and activation.

    Args:
        layer: A built layer that `check_layer` accepts.
        inputs: Tensor of shape (batch, *spatial, channels).
        kernel: Tensor of the shape of the layer's kernel, to use in place of its own.
        adapter: Tensor of shape (*1, channels / groups, filters), or (channels, units) of `Dense`,
            added to the centre of the kernel.

    Returns:
        A tensor of shape (batch, *spatial, filters).
    """
    trains = kernel is not None or layer.kernel.trainable
    kernel = layer.kernel if kernel is None else kernel
    if isinstance(layer, keras.layers.Dense):
        kernel = ops.convert_to_tensor(kernel)
        return ops.matmul(inputs, kernel if adapter is None else kernel + adapter)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        kernel = ops.convert_to_tensor(kernel)
        if adapter is not None:
            kernel = kernel + backend.centre_tap(adapter, kernel.shape[:-2])
        return ops.depthwise_conv(
            inputs, kernel, layer.strides, layer.padding, layer.data_format, layer.dilation_rate
        )
    padding = layer.padding
    if padding == "causal":
        past = layer.dilation_rate[0] * (layer.kernel_size[0] - 1)
        inputs, padding = ops.pad(inputs, [[0, 0], [past, 0], [0, 0]]), "valid"
    return backend.convolution(
        inputs, kernel, adapter, layer.strides, padding, layer.dilation_rate, trains
    )


def finish(layer: keras.layers.Layer, outputs: Tensor, bias: Tensor | None = None) -> Tensor:
    """Adds the bias of `layer` and applies its activation.

    Args:
        layer: A built layer.
        outputs: What `run` returned.
        bias: Tensor of shape (filters,), to use in place of the layer's own.

    Returns:
        A tensor of the same shape.
    """
    if bias is None and layer.use_bias:
        bias = layer.bias
    if bias is not None:
        outputs = outputs + ops.convert_to_tensor(bias)
    return outputs if layer.activation is None else layer.activation(outputs)


def affine_of(normalization: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Returns scale and shift, (channels,) each in float64, of a batch normalisation at inference.

    Args:
        normalization: A built `keras.layers.BatchNormalization`.
    """
    mean, variance = (
        ops.convert_to_numpy(moving).astype("float64")
        for moving in (normalization.moving_mean, normalization.moving_variance)
    )
    scale = 1.0 / np.sqrt(variance + normalization.epsilon)
    if normalization.scale:
        scale = scale * ops.convert_to_numpy(normalization.gamma)
    shift = -mean * scale
    if normalization.center:
        shift = shift + ops.convert_to_numpy(normalization.beta)
    return scale, shift


def fresh_initializer(initializer: Any) -> Any:
    """Returns an initializer that draws anew: an unseeded Keras one repeats itself otherwise."""
    return (
        initializer.clone()
        if isinstance(initializer, keras.initializers.Initializer)
        else initializer
    )


def restore_layer(config: dict[str, Any]) -> keras.layers.Layer:
    """Makes the layer of a saved adapter again, unbuilt.

    A layer built before its adapter would have another path (`convolution/kernel` and not
    `adapted/convolution/kernel`), and keys of a `MultiOptimizer` would miss it after loading.

    Args:
        config: What `keras.saving.serialize_keras_object` made of the layer.

    Returns:
        A layer that is built together with its adapter.
    """
    config = {key: value for key, value in config.items() if key != "build_config"}
    return keras.saving.deserialize_keras_object(config)
