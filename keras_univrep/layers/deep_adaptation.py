"""Deep adaptation: new filters for each domain, as linear combinations of fixed ones."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.layers.adapted_layer import (
    check_layer,
    filters_of,
    finish,
    fresh_initializer,
    run,
)
from keras_univrep.layers.layer_bank import LayerBank
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class DeepAdaptation(LayerBank):
    """A convolution or dense layer whose filters each domain combines anew.

    Equation:
        Rosenfeld and Tsotsos 2018, section 3, for a domain t:

            y = (f W_t) * x + b_t

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, *spatial, channels) |
        | f | `layer.kernel` | (*kernel_size, channels, filters) |
        | W_t | `controller(domain)`; the paper's is its transpose | (filters, filters) |
        | b_t | `part(domain).bias`, where there is one | (filters,) |

    Differences: The paper compares ways to begin W; here it is the identity, and b_t begins as
        the layer's bias, which leaves an untrained domain with the layer as it is.

    Args:
        layer: A `Conv1D`, `Conv2D` or `Conv3D` without groups, or a `Dense`, channels last. It is
            part of this layer; set its `trainable` to `False` to keep the trunk.
        domains: Names of the domains, each with its own W, or `None` for one unnamed W.
        always_bias: Whether domains have a bias even where `layer` has none.
        controller_initializer: Initializer of W.
        controller_regularizer: Regularizer of W.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, *spatial, channels).
        domain: One of `domains`; may be omitted when there is only one.
        training: Not used.

    Returns:
        A tensor of the shape that `layer` returns.

    Raises:
        TypeError: If `layer` is none of these Keras layers.
        ValueError: If the layer has groups, is depthwise or channels first, or the domain is
            unknown.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.layers import DeepAdaptation
        >>> layer = DeepAdaptation(keras.layers.Conv2D(8, 3), domains=["photo", "sketch"])
        >>> tuple(layer(np.ones((2, 5, 5, 3), "float32"), domain="sketch").shape)
        (2, 3, 3, 8)

    References:
        Rosenfeld, Tsotsos. Incremental learning through deep adaptation. IEEE Transactions on
        Pattern Analysis and Machine Intelligence, 2018.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        domains: Sequence[str] | None = None,
        always_bias: bool = False,
        controller_initializer: Any = "identity",
        controller_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, domains, **kwargs)
        check_layer(layer, type(self).__name__, odd=False)
        if isinstance(layer, keras.layers.DepthwiseConv2D) or getattr(layer, "groups", 1) > 1:
            raise ValueError(
                "DeepAdaptation combines filters that see the same channels, so the layer must "
                f"have no groups and not be depthwise. Received: {layer!r} with groups="
                f"{getattr(layer, 'groups', 'one a channel')}. Use ParallelAdapter or "
                "PiggybackMask there."
            )
        self.always_bias = always_bias
        self.controller_initializer = keras.initializers.get(controller_initializer)
        self.controller_regularizer = keras.regularizers.get(controller_regularizer)

    @property
    def has_bias(self) -> bool:
        """Whether each domain has a bias."""
        return self.layer.use_bias or self.always_bias

    def make_part(self, domain: str | None) -> keras.layers.Layer:
        filters = filters_of(self.layer)
        with self.new_part(domain) as part:
            part.controller = part.add_weight(
                shape=(filters, filters),
                initializer=fresh_initializer(self.controller_initializer),
                regularizer=self.controller_regularizer,
                name="controller",
            )
            if self.has_bias:
                part.bias = part.add_weight(shape=(filters,), initializer="zeros", name="bias")
        if self.layer.use_bias:
            # A copy: on JAX the two would share a buffer, which a training step gives away.
            part.bias.assign(np.array(ops.convert_to_numpy(self.layer.bias)))
        return part

    def controller(self, domain: str | None = None) -> keras.Variable:
        """Returns W of `domain`, of shape (filters, filters)."""
        return self.part(domain).controller

    def call(
        self, inputs: Tensor, domain: str | None = None, training: bool | None = None
    ) -> Tensor:
        part = self.part(domain)
        kernel = ops.convert_to_tensor(self.layer.kernel)
        combined = ops.matmul(kernel, ops.convert_to_tensor(part.controller))
        outputs = run(self.layer, inputs, combined)  # Rosenfeld and Tsotsos 2018 sec. 3
        return finish(self.layer, outputs, part.bias if self.has_bias else None)

    def merged_weights(self, domain: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns kernel and bias with which `layer` alone computes what this does.

        Args:
            domain: One of `domains`; may be omitted when there is only one.

        Returns:
            The kernel, float32, of the shape of the layer's; and the bias, or `None` for none.
        """
        part = self.part(domain)
        kernel, matrix = (
            ops.convert_to_numpy(value).astype("float64")
            for value in (self.layer.kernel, part.controller)
        )
        bias = ops.convert_to_numpy(part.bias) if self.has_bias else None
        return (kernel @ matrix).astype("float32"), bias

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "always_bias": self.always_bias,
            "controller_initializer": keras.initializers.serialize(self.controller_initializer),
            "controller_regularizer": keras.regularizers.serialize(self.controller_regularizer),
        }
