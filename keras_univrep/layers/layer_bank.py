"""The interface of banks around a layer that all domains share."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_univrep.layers.adapted_layer import restore_layer
from keras_univrep.layers.domain_bank import DomainBank
from keras_univrep.types import Shape


class LayerBank(DomainBank):
    """A bank of domains around a layer: what all of them share, and what each changes about it.

    A leaf passes `layer` and `domains` on, and writes `make_part(domain)`, mostly with `new_part`.
    One whose parts need something that is known once the layer is built writes `build`: first
    `build_layer(input_shape)`, and `make_parts()` at the end.

    Args:
        layer: The layer, built or not. It is part of this one.
        domains: Names of the domains, or `None` for one unnamed part.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.
    """

    def __init__(
        self, layer: keras.layers.Layer, domains: Sequence[str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(domains, **kwargs)
        self.layer = layer

    def build(self, input_shape: Shape) -> None:
        self.build_layer(input_shape)
        self.make_parts()

    def build_layer(self, input_shape: Shape) -> None:
        """Builds the layer, unless it is built; keeps the shape for parts that come later."""
        if not self.layer.built:
            self.layer.build(input_shape)
        self.any_shape = input_shape

    @contextlib.contextmanager
    def new_part(self, domain: str | None) -> Iterator[keras.layers.Layer]:
        """Gives an empty part to add weights to, under the path of its domain; it is built then.

        Args:
            domain: One of `domains`, or `None` for the unnamed part.
        """
        name = "adapter" if domain is None else f"adapter_{domain}"
        part = keras.layers.Layer(name=name, dtype=self.dtype_policy)
        with keras.name_scope(part.name, caller=part):
            yield part
        part.built = True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.layer.compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "layer": keras.saving.serialize_keras_object(self.layer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LayerBank":
        return cls(**{**config, "layer": restore_layer(config["layer"])})
