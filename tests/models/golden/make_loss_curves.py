"""Writes `loss_curves.json`: `python -m tests.models.golden.make_loss_curves`, on one backend.

The tests compare every backend with the numbers, so all agree with the one that wrote them.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import keras

from keras_univrep.backbones import ResNet26
from keras_univrep.models import MultiDomainModel, UniversalDistiller
from tests.models import toys

STEPS = 5


def _curve(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, size: int = toys.SIZE
) -> list[float]:
    model.compile(optimizer)
    losses = []
    for i in range(STEPS):
        # Two batches in turn, so that the loss must fall.
        x, y = toys.batch(i % 2, size=size)
        model.reset_metrics()
        losses.append(float(model.train_on_batch(x, y, return_dict=True)["loss"]))
    return losses


def multi_domain_model() -> list[float]:
    """Loss of each of five steps of a joint ResNet-26."""
    model = MultiDomainModel(ResNet26(width=0.125), toys.CLASSES)
    # At this rate a relative change of the weights by 1e-6 moves the last loss by 4e-6; at four
    # times the rate by 6e-4, and rounding alone would then tell the backends apart.
    optimizer = keras.optimizers.SGD(0.005, momentum=0.9)
    return _curve(toys.draw_weights(model, 3), optimizer, size=32)


def universal_distiller() -> list[float]:
    """Loss of each of five steps of a distillation from two teachers."""
    model = UniversalDistiller.preset("released", toys.network(1), toys.teachers(), steps=STEPS)
    for i, adapter in enumerate(model.alignment_adapters):
        toys.draw_weights(adapter, 200 + i)
    return _curve(model, model.preset_optimizer(steps=STEPS))


CURVES: dict[str, Callable[[], list[float]]] = {
    "multi_domain_model": multi_domain_model,
    "universal_distiller": universal_distiller,
}


if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("loss_curves.json")
    path.write_text(json.dumps({name: make() for name, make in CURVES.items()}, indent=2) + "\n")
