"""Steps that are left out, and a training that takes none."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.types import Tensor


def all_finite(
    values: Sequence[Tensor], grads: Sequence[Tensor], optimizer: keras.optimizers.Optimizer
) -> Tensor:
    """Whether a step may be taken."""
    checked = list(values)
    # That one looks for infinite gradients itself, and lowers its scale.
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        checked += grads
    finite = ops.all(ops.stack([ops.all(ops.isfinite(value)) for value in checked]))
    return backend.in_every_replica(finite)


def with_divergence_check(callbacks: Any) -> Any:
    """The callbacks of `fit`, and one that ends a training that takes no step."""
    own = DivergenceCheck()
    if isinstance(callbacks, keras.callbacks.CallbackList):
        callbacks.append(own)
        return callbacks
    given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    return [own, *(callback for callback in given if callback is not None)]


class DivergenceCheck(keras.callbacks.Callback):
    """Ends a training that takes no step, and tells a balancer where epochs begin."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.steps = 0
        if hasattr(self.model, "balancer"):
            self.model.balancer.start_epoch()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps = batch + 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        skipped = float(ops.convert_to_numpy(self.model.skipped.result()))
        if self.steps and skipped >= self.steps:
            raise RuntimeError(
                "The inner loss must stay finite in some step of an epoch. Received: infinite or "
                f"NaN in each of the {self.steps} steps of epoch {epoch + 1}, none of which was "
                "taken. Lower the inner learning rate, take fewer inner steps, or look at the "
                "inputs."
            )
