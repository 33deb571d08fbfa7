"""Training that is killed and started again."""

from __future__ import annotations

import math
import pathlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import h5py
import keras
import numpy as np
import pytest

from keras_univrep import balancers
from keras_univrep.models import MultiTaskModel, UniversalDistiller, resumable_fit
from tests.models import toys

STEPS = 8


class Kill(keras.callbacks.Callback):
    """Stands for a kill in the middle of an epoch."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1


def data(first: int) -> Iterator[tuple]:
    """Endless batches, each with its own number."""
    while True:
        yield toys.batch(first)
        first += 1


def model() -> UniversalDistiller:
    made = toys.distiller(annealing=keras.optimizers.schedules.PolynomialDecay(1.0, STEPS, 0.0))
    made.compile(made.preset_optimizer(STEPS))
    return made


def test_killed_run_ends_as_an_uninterrupted_one(tmp_path: pathlib.Path) -> None:
    whole = model()
    history = resumable_fit(whole, data, STEPS, tmp_path / "whole", steps_per_epoch=2)
    with pytest.raises(KeyboardInterrupt):
        resumable_fit(
            model(), data, STEPS, tmp_path / "killed", steps_per_epoch=2, callbacks=[Kill(5)]
        )
    assert [p.name for p in (tmp_path / "killed").glob("*.h5")] == ["epoch-2.weights.h5"]
    resumed = model()
    rest = resumable_fit(resumed, data, STEPS, tmp_path / "killed", steps_per_epoch=2)
    toys.assert_equal_weights(resumed, whole, rtol=1e-5, atol=1e-6)
    assert int(resumed.step) == STEPS
    np.testing.assert_allclose(rest["loss"], history["loss"][2:], rtol=1e-4)
    logs = [(tmp_path / name / "history.csv").read_text() for name in ("whole", "killed")]
    assert [len(text.splitlines()) for text in logs] == [5, 5]
    assert not list(tmp_path.glob("*/*.h5"))


def dropping() -> keras.Model:
    """Draws numbers in two layers, one of them inside another."""
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.layers.Dense(16), keras.layers.GaussianNoise(0.5)])
    made = keras.Sequential(
        [keras.Input((6,)), inner, keras.layers.Dropout(0.5), keras.layers.Dense(3)]
    )
    made.compile(keras.optimizers.SGD(0.1), "mse")
    return made


def balanced() -> keras.Model:
    """Draws numbers in the balancer."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(4, name="trunk")(inputs)
    outputs = {name: keras.layers.Dense(3, name=name)(hidden) for name in ("a", "b", "c")}
    made = MultiTaskModel(keras.Model(inputs, outputs), shared="trunk")
    made.compile("sgd", dict.fromkeys(outputs, "mse"), balancer=balancers.PCGrad(seed=3))
    return made


def vectors(first: int) -> Iterator[tuple]:
    while True:
        rng = np.random.default_rng(first)
        yield rng.normal(size=(4, 6)), rng.normal(size=(4, 3))
        first += 1


def vectors_of_tasks(first: int) -> Iterator[tuple]:
    for x, y in vectors(first):
        yield x, {"a": y, "b": -y, "c": y[::-1]}


@pytest.mark.parametrize(("make", "batches"), [(dropping, vectors), (balanced, vectors_of_tasks)])
def test_random_numbers_go_on_where_they_were(
    make: Callable, batches: Callable, tmp_path: pathlib.Path
) -> None:
    whole = make()
    history = resumable_fit(whole, batches, STEPS, tmp_path / "whole", 2)
    with pytest.raises(KeyboardInterrupt):
        resumable_fit(make(), batches, STEPS, tmp_path / "killed", 2, callbacks=[Kill(5)])
    resumed = make()
    rest = resumable_fit(resumed, batches, STEPS, tmp_path / "killed", 2)
    np.testing.assert_allclose(rest["loss"], history["loss"][2:], rtol=1e-5)
    toys.assert_equal_weights(resumed, whole, rtol=1e-5, atol=1e-6)


def test_a_backup_with_other_random_numbers_is_refused_and_one_without_is_taken(
    tmp_path: pathlib.Path,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        resumable_fit(dropping(), vectors, STEPS, tmp_path, 2, callbacks=[Kill(3)])
    backup = tmp_path / "epoch-1.weights.h5"
    with h5py.File(backup, "a") as file:
        assert len(file["seeds"]) == 2
        del file["seeds/1"]
    with pytest.raises(ValueError, match="Received: 2 for 1 in"):
        resumable_fit(dropping(), vectors, STEPS, tmp_path, 2)
    with h5py.File(backup, "a") as file:
        del file["seeds"]
    assert len(resumable_fit(dropping(), vectors, STEPS, tmp_path, 2)["loss"]) == 3


def test_loss_that_is_no_number_is_an_error_and_is_not_backed_up(tmp_path: pathlib.Path) -> None:
    def poisoned(first: int) -> Iterator[tuple]:
        for x, y in data(first):
            yield {name: value * (math.nan if first >= 2 else 1.0) for name, value in x.items()}, y
            first += 1

    with pytest.raises(RuntimeError, match="finite. Received: loss=nan in epoch 2"):
        resumable_fit(model(), poisoned, STEPS, tmp_path, steps_per_epoch=2)
    assert [p.name for p in tmp_path.glob("*.h5")] == ["epoch-1.weights.h5"]


@pytest.mark.parametrize("steps", [0, -2, 3])
def test_refuses_steps_that_are_no_whole_epochs(steps: int, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=f"positive multiple.*steps={steps}, steps_per_epoch=2"):
        resumable_fit(model(), data, steps, tmp_path, steps_per_epoch=2)


TRAIN = """
import os, resource, signal, sys
import keras, numpy as np
from keras_univrep.models import resumable_fit

folder, fault = sys.argv[1:]
write = keras.Model.save_weights

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def save_weights(self, path, *args, **options):
    write(self, path, *args, **options)
    if fault == "backup" and os.path.exists(folder + "/epoch-1.weights.h5"):
        os.truncate(path, os.path.getsize(path) // 2)
        die()

class Fault(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if self.second and batch == 1 and fault == "epoch":
            die()

    def on_epoch_begin(self, epoch, logs=None):
        self.second = epoch == 1
        if self.second and fault == "disk":
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))

def data(first):
    while True:
        rng = np.random.default_rng(first)
        yield rng.normal(size=(4, 6)), rng.normal(size=(4, 40))
        first += 1

keras.Model.save_weights = save_weights
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(40)])
model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
resumable_fit(model, data, 6, folder, steps_per_epoch=2, callbacks=[Fault()])
np.save(folder + "/kernel.npy", keras.ops.convert_to_numpy(model.layers[0].kernel))
"""


def train(folder: pathlib.Path, fault: str = "none") -> int:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", TRAIN, str(folder), fault]
    return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert train(folder) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["epoch", "backup", "disk"])
def test_a_process_that_dies_goes_on_with_the_same_curve(
    fault: str, uninterrupted: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Killed in an epoch, killed in a backup, or at a full disk, which HDF5 may not survive."""
    code = train(tmp_path, fault)
    assert code != 0 if fault == "disk" else code == -signal.SIGKILL
    assert [path.name for path in tmp_path.glob("epoch-*")] == ["epoch-1.weights.h5"]
    assert train(tmp_path) == 0
    kernels = [np.load(folder / "kernel.npy") for folder in (uninterrupted, tmp_path)]
    np.testing.assert_allclose(*kernels, rtol=1e-6)
    curves = [
        np.loadtxt(folder / "history.csv", delimiter=",", skiprows=1, usecols=(0, 1))
        for folder in (uninterrupted, tmp_path)
    ]
    np.testing.assert_allclose(*curves, rtol=1e-5)
    assert not list(tmp_path.glob("*.h5"))
