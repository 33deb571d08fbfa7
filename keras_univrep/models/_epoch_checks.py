"""What a model of several tasks looks after between epochs."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.models._step_guard import OTHERS


class EpochChecks(keras.callbacks.Callback):
    """Tells the balancer where epochs begin, and ends a training whose loss is no number."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.model.broken.assign(np.zeros(self.model.broken.shape, "float32"))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.balancer.start_epoch()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        broken = ops.convert_to_numpy(self.model.broken)
        if broken.any():
            known = (*self.model.tasks, *OTHERS)
            names = [name for name, bad in zip(known, broken, strict=True) if bad]
            raise RuntimeError(
                f"The losses must stay finite. Received: infinite or NaN for {names}, first in "
                f"epoch {epoch + 1}. No step was taken with them, so that the weights are those of "
                "the steps with finite ones. Lower the learning rate, or look at the inputs, and "
                "at the targets of these."
            )
