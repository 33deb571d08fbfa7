"""A backbone whose channels are weighed by a modulator."""

from typing import Any

import keras

from keras_univrep.backbones.adaptable_layers import leaves
from keras_univrep.backbones.call_modulated import call_modulated, film_layers
from keras_univrep.layers import modulate
from keras_univrep.models._inner_loop import Forward, network_function
from keras_univrep.types import Tensor


class ModulatedLayers:
    """The normalisations whose outputs are weighed, and where each finds its weights."""

    def __init__(self, backbone: keras.Model, pattern: Any) -> None:
        self.backbone = backbone
        self.names = film_layers(backbone, pattern)
        known = dict(leaves(backbone))
        self.places: dict[str, slice] = {}
        self.channels = 0
        for name in self.names:
            count = int(known[name].weights[0].shape[-1])
            self.places[name] = slice(self.channels, self.channels + count)
            self.channels += count

    def function(self) -> Forward:
        """As `network_function`, of inputs (x, w) with w (channels,) of one task."""
        affine = self._affine()
        if affine is None:
            return self._by_outputs()
        forward = network_function(self.backbone)

        def modulated(values: Any, inputs: Any, moments: Any = None) -> tuple[Any, list[Tensor]]:
            x, weights = inputs
            values = list(values)
            # Of scale and shift in place of the outputs, which would write every map once more.
            for name, places in affine.items():
                for place in places:
                    values[place] = modulate(values[place], weights[self.places[name]])
            return forward(values, x, moments)

        return modulated

    def _affine(self) -> dict[str, list[int]] | None:
        """Places of scale and shift among the trainable variables; None if one is not there."""
        places = {id(v): place for place, v in enumerate(self.backbone.trainable_variables)}
        known, found = dict(leaves(self.backbone)), {}
        for name in self.names:
            own = [getattr(known[name], part, None) for part in ("gamma", "beta")]
            if any(id(variable) not in places for variable in own):
                return None
            found[name] = [places[id(variable)] for variable in own]
        return found

    def _by_outputs(self) -> Forward:
        def call(inputs: Any, training: bool) -> Tensor:
            x, weights = inputs

            def after(name: str, outputs: Tensor) -> Tensor:
                return modulate(outputs, weights[self.places[name]])

            return call_modulated(
                self.backbone, x, self.names, after, training=training, average=False
            )

        return network_function(self.backbone, call)
