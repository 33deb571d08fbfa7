"""The shared part of a network that is distilled, for steps that end backward passes behind it."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_univrep import backend
from keras_univrep.types import Tensor


class TaughtTrunk(keras.Model):
    """From images to the representation; while training also asks the teachers, as a distiller.

    Args:
        distiller: The `DenseDistiller`.
        trunk: Its network up to the representation.
    """

    def __init__(self, distiller: Any, trunk: keras.Model) -> None:
        super().__init__(name="trunk")
        names = {name for names in distiller.student_layers.values() for name in names}
        maps = {name: distiller.network.get_layer(name).output for name in sorted(names)}
        self.view = keras.Model(trunk.input, [trunk.outputs, maps])
        known = {id(variable) for variable in trunk.variables}
        if distiller.prediction_loss or any(id(v) not in known for v in self.view.variables):
            raise ValueError(
                "What teachers are compared with must come before the end of the trunk, for steps "
                "that end backward passes there. Received: prediction losses for "
                f"{list(distiller.prediction_loss)}, student_layers={sorted(names)}. Leave "
                "`shared` out, and choose a balancer on 'shared' or 'all'."
            )
        self.adapters = distiller.alignment_adapters
        # No layer, so that Keras does not count the heads and teachers as part of this.
        self.told = _Untracked(distiller)
        self.built: bool = True

    def call(self, inputs: Any, training: bool | None = None) -> Sequence[Tensor]:
        features, maps = self.view(inputs, training=training)
        if training:
            for term in self.told.distiller.terms(inputs, maps, {}):
                self.add_loss(backend.whole(term))
        return features


class _Untracked:
    """What holds a model without being one."""

    def __init__(self, distiller: Any) -> None:
        self.distiller = distiller
