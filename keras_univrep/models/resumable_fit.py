"""Training that goes on where it was interrupted."""

import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import h5py
import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.models._room import bytes_of, reserve

BACKUP = "epoch-{}.weights.h5"
# Where the backup holds what Keras leaves out: how far the random numbers are.
SEEDS, GENERATORS = "seeds", "generators"


def resumable_fit(
    model: keras.Model,
    data: Callable[[int], Any],
    steps: int,
    directory: str | pathlib.Path,
    steps_per_epoch: int = 50,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **kwargs: Any,
) -> dict[str, list[float]]:
    """Trains a compiled model for a number of steps, keeping a backup after every epoch.

    Called again with the same arguments after a kill, it restores weights, optimizer, metrics and
    random numbers of the last whole epoch and goes on from there with the batches that come next,
    so that the result is that of an uninterrupted run. Random numbers are those of each
    `SeedGenerator` that a layer holds, as dropout's, noise's, a balancer's, and of PyTorch's own
    generators. The backup is removed when the training is done.

    Args:
        model: A compiled model.
        data: A function of the first step that returns an endless data set from there on.
        steps: Steps of the whole training, a multiple of `steps_per_epoch`.
        directory: Folder of the backup and of `history.csv`; made if missing.
        steps_per_epoch: Steps between two backups.
        callbacks: Further callbacks of `fit`.
        **kwargs: Further arguments of `fit`.

    Returns:
        Each logged metric with its value after each epoch that this call ran.

    Raises:
        ValueError: If `steps` is not a positive multiple of `steps_per_epoch`, or the backup is
            that of another model.
        RuntimeError: If the loss became infinite or NaN.
        OSError: If there is no room for a backup beside the last one, which stays.

    Example:
        >>> import keras, numpy as np, tempfile
        >>> from keras_univrep.models import resumable_fit
        >>> model = keras.Sequential([keras.layers.Dense(1)])
        >>> model.build((None, 3))
        >>> model.compile("sgd", "mse")
        >>> def data(first_step):
        ...     while True:
        ...         yield np.ones((2, 3)), np.ones((2, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     history = resumable_fit(model, data, 4, folder, steps_per_epoch=2)
        >>> len(history["loss"])
        2
    """
    if steps < 1 or steps % steps_per_epoch:
        raise ValueError(
            "`steps` must be a positive multiple of `steps_per_epoch`. Received: "
            f"steps={steps}, steps_per_epoch={steps_per_epoch}. Round it."
        )
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    done, backup = _latest_backup(directory)
    if backup is not None:
        # The optimizer's state is in the file, and is skipped unless its variables exist.
        model.optimizer.build(model.trainable_variables)
        model.load_weights(backup)
    history = model.fit(
        data(done * steps_per_epoch),
        initial_epoch=done,
        epochs=steps // steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        callbacks=[
            *([] if backup is None else [_Seeds(backup)]),
            # The order matters: an epoch that ended in NaN is neither logged nor backed up.
            _RaiseAtNaN(),
            _Backup(directory),
            keras.callbacks.CSVLogger(str(directory / "history.csv"), append=done > 0),
            *callbacks,
        ],
        # The order of the batches is the data's own affair: a resumed training depends on it.
        shuffle=False,
        verbose=kwargs.pop("verbose", 0),
        **kwargs,
    )
    for path in directory.glob(BACKUP.format("*")):
        path.unlink()
    return history.history


class _Seeds(keras.callbacks.Callback):
    """Restores the random numbers at the first batch: what `fit` does before it draws some too."""

    def __init__(self, backup: pathlib.Path) -> None:
        super().__init__()
        self.backup: pathlib.Path | None = backup

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self.backup is not None:
            _restore_seeds(self.model, self.backup)
            self.backup = None


class _RaiseAtNaN(keras.callbacks.Callback):
    """Ends the training with an error after an epoch whose loss is no longer a number."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            raise RuntimeError(
                f"The loss must stay finite. Received: loss={loss} in epoch {epoch + 1}. Lower the "
                "learning rate, or look for images that are NaN. The backup is of the last epoch "
                "with a finite loss."
            )


class _Backup(keras.callbacks.Callback):
    """Keeps the state after the last epoch in one file, which is there whole or not at all."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__()
        self.directory = directory

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        partial = self.directory / "partial.weights.h5"
        # Of a process that was killed.
        partial.unlink(missing_ok=True)
        size = bytes_of(self.model)
        try:
            reserve(partial, size)
        except OSError as error:
            raise OSError(
                error.errno,
                f"The backup after epoch {epoch + 1} must have {size} bytes beside the last one. "
                f"Received: {error.strerror}. Make room and call again: the training goes on after "
                "the last epoch of which there is a backup",
                str(self.directory),
            ) from error
        self.model.save_weights(partial)
        _store_seeds(self.model, partial)
        old = list(self.directory.glob(BACKUP.format("*")))
        partial.replace(self.directory / BACKUP.format(epoch + 1))
        for path in old:
            path.unlink()


def _seeds(model: keras.Model) -> list[Any]:
    """The state of every random generator of a model's layers, in their order."""
    generators = {
        id(generator): generator.state
        for layer in model._flatten_layers()
        for generator in layer._seed_generators
    }
    return list(generators.values())


def _store_seeds(model: keras.Model, path: pathlib.Path) -> None:
    states = [ops.convert_to_numpy(state) for state in _seeds(model)]
    with h5py.File(path, "a") as file:
        for name, arrays in ((SEEDS, states), (GENERATORS, backend.generator_states())):
            group = file.create_group(name)
            for number, array in enumerate(arrays):
                group[str(number)] = array


def _restore_seeds(model: keras.Model, path: pathlib.Path) -> None:
    states = _seeds(model)
    with h5py.File(path) as file:
        # A backup of an older version has none; its training goes on with new random numbers.
        if SEEDS not in file:
            return
        found, generators = (
            [file[name][str(number)][()] for number in range(len(file[name]))]
            for name in (SEEDS, GENERATORS)
        )
    if len(found) != len(states):
        raise ValueError(
            "The model must draw random numbers in as many places as that of the backup. "
            f"Received: {len(states)} for {len(found)} in {path}. Make and compile the same "
            "model, or remove the backup."
        )
    for state, array in zip(states, found, strict=True):
        state.assign(array)
    backend.set_generator_states(generators)


def _latest_backup(directory: pathlib.Path) -> tuple[int, pathlib.Path | None]:
    found = {
        int(path.name.split("-")[1].split(".")[0]): path
        for path in directory.glob(BACKUP.format("*"))
    }
    return max(found.items()) if found else (0, None)
