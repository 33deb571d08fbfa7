"""Losses and metrics of the sources of several tasks, as a model is compiled with them."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.models._sources import Sources, by_source, check_batch, entry
from keras_univrep.models._task_losses import scalar_loss
from keras_univrep.types import Tensor

Losses = dict[str, dict[str, Tensor]]


class SourceLosses:
    """Losses and metrics by task and source; no mapping, so that Keras does not track them.

    Args:
        loss: `{task: loss}` or `{task: {source: loss}}`, or one for all.
        metrics: `{task: {source: [metrics]}}`, for some or all sources; or `None`.
        sources: Names of the sources of each task.
    """

    def __init__(self, loss: Any, metrics: Any, sources: Sources) -> None:
        self.sources = sources
        self.losses = {
            task: {source: keras.losses.get(value) for source, value in row.items()}
            for task, row in by_source(loss, sources, "loss").items()
        }
        if metrics:
            check_batch(metrics, sources, "metrics")
        self.metrics = metrics or None

    def flat_metrics(self) -> dict[str, Any] | None:
        """Metrics by `task_source`, as Keras takes them."""
        return self._flat(self.metrics, self._keys()) if self.metrics else None

    def __call__(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Losses:
        """The loss of each source that `x` holds, float32 scalars."""
        return {
            task: {
                source: scalar_loss(
                    self.losses[task][source],
                    entry(y, task, source, "y"),
                    y_pred[task][source],
                    entry(sample_weight, task, source, "sample_weight", optional=True),
                )
                for source in batches
            }
            for task, batches in x.items()
        }

    def for_metrics(self, y: Any, y_pred: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """What the metrics of `flat_metrics` are updated with."""
        keys = self._keys()
        weights = None
        if sample_weight is not None:
            known = self._flat(sample_weight, keys)
            weights = {key: known.get(key) for key in keys}
        return self._flat(y, keys), self._flat(y_pred, keys), weights

    def configs(self) -> dict[str, Any]:
        """What makes the same losses and metrics, as a configuration."""
        serialize = keras.saving.serialize_keras_object
        losses = {
            task: {source: serialize(loss) for source, loss in row.items()}
            for task, row in self.losses.items()
        }
        return {"loss": losses, "metrics": serialize(self.metrics)}

    def _keys(self) -> list[str]:
        return [f"{task}_{source}" for task, row in (self.metrics or {}).items() for source in row]

    def _flat(self, values: Any, keys: Sequence[str]) -> dict[str, Any]:
        found = {}
        for task, names in self.sources.items():
            for source in names:
                value = entry(values, task, source, "values", optional=True)
                if f"{task}_{source}" in keys and value is not None:
                    found[f"{task}_{source}"] = value
        return found


def average(losses: Mapping[str, Mapping[str, Tensor]], joint: bool) -> Tensor:
    """The mean over all sources, or the sum of the means over those of each task."""
    if joint:
        every = [value for row in losses.values() for value in row.values()]
        return sum(every) / len(every)  # he2022 eq. 1
    # Of networks that share nothing: the sum has the gradient of each task's own loss.
    return sum(sum(row.values()) / len(row) for row in losses.values())
