"""A layer of which each domain has a copy of its own."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.layers.copy_weights import copy_weights
from keras_univrep.layers.layer_bank import LayerBank
from keras_univrep.types import Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class DomainCopy(LayerBank):
    """A copy of any layer for each domain, chosen by name.

    With a batch normalisation it is the domain-specific normalisation of residual adapters; with
    a convolution it is fine-tuning, or training from scratch where the copies draw new weights.

    Equation:
        rebuffi2018, section 3.1 and table 1 ("finetuning", "scratch"), for a domain t:

            y = g(x; w_t),    w_t = w at the start

        | symbol | here | shape |
        |---|---|---|
        | g, w | `layer` and its weights | |
        | w_t | weights of `part(domain)` | as w |

    Args:
        layer: Any layer of one input. It is part of this one, and is not run itself.
        domains: Names of the domains, or `None` for one unnamed copy.
        reinitialize: Whether copies draw new weights in place of those of `layer`.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Input of `layer`.
        domain: One of `domains`; may be omitted when there is only one.
        training: Passed on where `layer` takes it.

    Returns:
        What the domain's copy of `layer` returns.

    Raises:
        ValueError: If the domain is unknown.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.layers import DomainCopy
        >>> layer = DomainCopy(keras.layers.Dense(4), domains=["photo", "sketch"])
        >>> tuple(layer(np.ones((2, 3), "float32"), domain="photo").shape), layer.count_params()
        ((2, 4), 48)

    References:
        Bilen, Vedaldi. Universal representations: the missing link between faces, text,
        planktons, and cat breeds. 2017.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        domains: Sequence[str] | None = None,
        reinitialize: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, domains, **kwargs)
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(
                f"`layer` of DomainCopy must be a Keras layer. Received: {layer!r}. "
                "Pass the layer itself, built or not."
            )
        self.reinitialize = reinitialize

    def make_part(self, domain: str | None) -> keras.layers.Layer:
        config = self.layer.get_config()
        name = config["name"] if domain is None else f"{config['name']}_{domain}"
        part = type(self.layer).from_config({**config, "name": name, "trainable": True})
        part.build(self.any_shape)
        if not self.reinitialize:
            copy_weights(self.layer, part)
        return part

    def call(
        self, inputs: Tensor, domain: str | None = None, training: bool | None = None
    ) -> Tensor:
        part = self.part(domain)
        if "training" in inspect.signature(part.call).parameters:
            return part(inputs, training=training)
        return part(inputs)

    def merged_weights(self, domain: str | None = None) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns kernel and bias of a domain's copy.

        Args:
            domain: One of `domains`; may be omitted when there is only one.

        Returns:
            The kernel, float32, of the shape of the layer's; and the bias, or `None` for none.

        Raises:
            ValueError: If the layer has no kernel.
        """
        part = self.part(domain)
        if not hasattr(part, "kernel"):
            raise ValueError(
                f"Only a layer with a kernel has one to merge. Received: {self.layer!r}. "
                "Copy its weights instead: `part(domain).get_weights()`."
            )
        bias = ops.convert_to_numpy(part.bias) if part.use_bias else None
        return ops.convert_to_numpy(part.kernel), bias

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "reinitialize": self.reinitialize,
        }
