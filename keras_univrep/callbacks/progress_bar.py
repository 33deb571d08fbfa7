"""One progress bar for a whole training."""

from typing import Any

import keras
import rich.progress


class ProgressBar(keras.callbacks.Callback):
    """Shows a training as one bar, with its loss and the time left; use it with `verbose=0`.

    Keras's own bar prints every metric of every domain in each epoch, which is unreadable with
    more than a few domains.

    Args:
        title: What is trained.
        steps_per_epoch: Steps of an epoch.
        epochs: Epochs of the whole training.

    Example:
        >>> from keras_univrep.callbacks import ProgressBar
        >>> bar = ProgressBar("universal network", steps_per_epoch=50, epochs=20)
    """

    def __init__(self, title: str, steps_per_epoch: int, epochs: int) -> None:
        super().__init__()
        self.title = title
        self.steps_per_epoch = steps_per_epoch
        self.total = steps_per_epoch * epochs
        self._done = 0
        self._progress = rich.progress.Progress(
            rich.progress.TextColumn("{task.description:<28}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[status]}"),
        )
        self._task = self._progress.add_task(title, total=self.total, status="")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._progress.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # Set and not counted, so that a resumed training starts where it was.
        self._done = epoch * self.steps_per_epoch
        self._progress.update(self._task, completed=self._done)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._progress.update(self._task, completed=self._done + batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("loss")
        status = "" if loss is None else f"loss {float(loss):.3f}"
        self._progress.update(self._task, status=status)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self._progress.stop()
