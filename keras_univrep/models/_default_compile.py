"""What a classifier of several domains is compiled with, where nothing is said."""

from typing import Any

import keras


def default_compile(domains: tuple[str, ...], loss: Any, metrics: Any) -> dict[str, Any]:
    """Returns the loss and metrics of a classifier of several domains, where none are given."""
    if loss is None:
        loss = {
            name: keras.losses.SparseCategoricalCrossentropy(from_logits=True) for name in domains
        }
    if metrics is None:
        metrics = {
            name: [keras.metrics.SparseCategoricalAccuracy(name="accuracy")] for name in domains
        }
    return {"loss": loss, "metrics": metrics}
