"""One flow of an Omni-Net, as a network by itself."""

from typing import Any

import keras

from keras_univrep.backbones.omni_net import OmniNet
from keras_univrep.layers import OmniHead
from keras_univrep.layers.flows import check_flow
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class OmniFlow(keras.Model):
    """A flow of an `OmniNet` as a model of images, for whatever works on a backbone.

    Its weights are those of the Omni-Net, and what trains the one trains the other; its trainable
    variables are those that the flow computes with.

    Equation:
        shu2021, equations 4 to 6 and section 4.1, for one flow:

            y = H_flow(F_flow(x))

        | symbol | here | shape |
        |---|---|---|
        | F_flow(x) | `network` with `flow` | (batch, channels) |
        | H_flow | the flow's own of `head`, or the identity | |

    Args:
        network: The Omni-Net.
        flow: `"joint"`, `"pre"` or `"meta"`.
        head: Heads of which the flow's own stands behind its features, or `None` for features.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: What the network takes.
        training: Whether normalisations use the statistics of the batch.

    Returns:
        Features of shape (batch, channels), or what the head makes of them.

    Raises:
        ValueError: If the flow is unknown.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import OmniFlow, OmniNet, ResNet18
        >>> network = OmniNet(ResNet18(width=0.125))
        >>> tuple(OmniFlow(network, "pre")(np.ones((2, 32, 32, 3), "float32")).shape)
        (2, 64)

    References:
        Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """

    # Keras's, on TensorFlow, traces the call on inputs of its own making.
    _default_save_signature = None

    def __init__(
        self, network: OmniNet, flow: str, head: OmniHead | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.flow = check_flow(flow, self.name)
        if head is not None:
            check_flow(flow, head.name, head.flows)
            if not head.built:
                head.build((None, network.filters))
        self.network = network
        self.head = head
        self.filters = (
            network.filters
            if head is None
            else head.compute_output_shape((None, network.filters))[-1]
        )
        self.build(None)

    def build(self, input_shape: Shape | None) -> None:
        self.built: bool = True

    def call(self, images: Tensor, training: bool | None = None) -> Tensor:
        features = self.network(images, flow=self.flow, training=training)
        return features if self.head is None else self.head(features, flow=self.flow)

    def compute_output_spec(self, images: Tensor, training: bool | None = None) -> Any:
        """Returns the shape and dtype of the features, without running the network."""
        spec = self.network.compute_output_spec(images, flow=self.flow)
        if self.head is None:
            return spec
        return keras.KerasTensor(self.head.compute_output_shape(spec.shape), spec.dtype)

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The trainable variables that the flow computes with."""
        own = [] if self.head is None else self.head.head(self.flow).trainable_variables
        return [*self.network.flow_variables(self.flow), *own] if self.trainable else []

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        """As `trainable_variables`."""
        return self.trainable_variables

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "network": serialize(self.network),
            "flow": self.flow,
            "head": None if self.head is None else serialize(self.head),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "OmniFlow":
        restore = keras.saving.deserialize_keras_object
        head = None if config["head"] is None else restore(config["head"])
        return cls(**{**config, "network": restore(config["network"]), "head": head})
