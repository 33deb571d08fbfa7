"""Fully connected networks, on which regression and control are compared."""

from collections.abc import Sequence
from typing import Any

import keras


def MLP(
    channels: int,
    units: Sequence[int] = (64, 64),
    activation: str = "tanh",
    kernel_initializer: Any = "glorot_uniform",
    name: str = "mlp",
    dtype: Any = None,
) -> keras.Model:
    """Makes a network of dense layers without a head.

    shu2021 takes two layers of 64 units with tanh for regression (section 6.2); Finn et al. (2017)
    take two of 40 with ReLU.

    Args:
        channels: Numbers of an input.
        units: Units of each layer.
        activation: Activation of each layer.
        kernel_initializer: Initializer of the kernels.
        name: Name of the model.
        dtype: Dtype or policy of the layers; `None` for Keras's.

    Returns:
        A functional model of (batch, channels) that returns (batch, last of `units`), with layers
        "dense1", "dense2", ...

    Raises:
        ValueError: If a number is not positive, or there is no layer.

    Example:
        >>> from keras_univrep.backbones import MLP
        >>> MLP(1).count_params()
        4288

    References:
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
        - Finn, Abbeel, Levine. Model-agnostic meta-learning for fast adaptation of deep networks.
          2017.
    """
    if not units or min(channels, *units) < 1:
        raise ValueError(
            "`channels` and all `units` must be positive, and there must be a layer. Received: "
            f"channels={channels}, units={list(units)}. Pass units=(64, 64) for the paper's."
        )
    initializer = keras.initializers.get(kernel_initializer)
    x = inputs = keras.Input((channels,), name="inputs")
    for place, count in enumerate(units):
        x = keras.layers.Dense(
            count,
            activation,
            # An initializer without a seed repeats itself.
            kernel_initializer=initializer.clone(),
            name=f"dense{place + 1}",
            dtype=dtype,
        )(x)
    return keras.Model(inputs, x, name=name)
