"""The Omni-Head: one head for each flow."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_univrep.layers.adapted_layer import restore_layer
from keras_univrep.layers.flows import FLOWS, check_flow
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class OmniHead(keras.layers.Layer):
    """Predictions of the flows of an Omni-Net, by a head of each.

    Equation:
        shu2021, section 4.1: for the features F_flow(x) of a flow,

            y_flow = H_flow(F_flow(x)),   flow in {joint, pre, meta}

        | symbol | here | shape |
        |---|---|---|
        | F_flow(x) | `inputs` | (batch, channels) |
        | H_flow | `head(flow)`, of the kind of `layer`, with weights of its own | |
        | y_flow | outputs | (batch, units) |

    Args:
        layer: A layer, such as `Dense`, that says what a head is. It is not run itself.
        flows: Which flows have one, among `"joint"`, `"pre"` and `"meta"`.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Features of one flow, (batch, channels).
        flow: One of `flows`.

    Returns:
        What a head returns, for `Dense` (batch, units).

    Raises:
        TypeError: If `layer` is no Keras layer.
        ValueError: If there is no flow, or the flow of a call is unknown.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.layers import OmniHead
        >>> head = OmniHead(keras.layers.Dense(5))
        >>> tuple(head(np.ones((2, 8), "float32"), flow="pre").shape), head.count_params()
        ((2, 5), 135)

    References:
        Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """

    def __init__(
        self, layer: keras.layers.Layer, flows: Sequence[str] = FLOWS, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(
                f"`layer` of OmniHead must be a Keras layer. Received: {layer!r}. "
                "Pass, for example, keras.layers.Dense(5)."
            )
        self.flows = tuple(check_flow(flow, self.name) for flow in flows)
        if not self.flows or len(set(self.flows)) < len(self.flows):
            raise ValueError(
                "`flows` of OmniHead must hold at least one flow and each once. Received: "
                f"flows={list(flows)}. Leave it out for {list(FLOWS)}."
            )
        config = layer.get_config()
        self._kind, self._config = type(layer), config
        self.heads = [
            type(layer).from_config({**config, "name": f"{config['name']}_{flow}"})
            for flow in self.flows
        ]

    def build(self, input_shape: Shape) -> None:
        for head in self.heads:
            if not head.built:
                head.build(input_shape)

    @property
    def template(self) -> dict[str, Any]:
        """The configuration of the layer that says what a head is."""
        # Of a fresh layer: while Keras loads a model, what it makes carries numbers of that file.
        return keras.saving.serialize_keras_object(self._kind.from_config(dict(self._config)))

    def head(self, flow: str) -> keras.layers.Layer:
        """Returns the head of a flow.

        Args:
            flow: One of `flows`.
        """
        return self.heads[self.flows.index(check_flow(flow, self.name, self.flows))]

    def call(self, inputs: Tensor, flow: str = "joint") -> Tensor:
        return self.head(flow)(inputs)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.heads[0].compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": self.template, "flows": list(self.flows)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "OmniHead":
        return cls(**{**config, "layer": restore_layer(config["layer"])})
