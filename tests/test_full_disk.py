"""A disk that is full in the middle of a file: the error is told, and what was there stays."""

from __future__ import annotations

import contextlib
import errno
import pathlib
from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest

from keras_univrep.applications import (
    DomainEntry,
    register_weights,
    save_weights,
)
from keras_univrep.applications.weights_registry import read_registry
from keras_univrep.backbones import AdaptedBackbone
from keras_univrep.conversion import export, load_exported
from keras_univrep.models import (
    MultiDomainModel,
    read_pack,
    resumable_fit,
    save_domain_pack,
)
from keras_univrep.models._room import bytes_of
from tests.models import toys

resource = pytest.importorskip("resource")
# Bytes after which the system refuses to write on: in the middle of the smallest of these files.
LIMIT = 2000


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Files of this process and its children end at LIMIT, by an error of the system's own."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def network() -> MultiDomainModel:
    trunk = toys.draw_weights(toys.conv_backbone(8), 1)
    return MultiDomainModel(AdaptedBackbone(trunk, ["photo", "sketch"]), toys.CLASSES)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def register(model: MultiDomainModel, folder: pathlib.Path) -> None:
    domains = {
        name: DomainEntry(name, n, tuple(map(str, range(n))), (32, 32), (0.5,) * 3, (0.2,) * 3)
        for name, n in toys.CLASSES.items()
    }
    register_weights(model, "own", domains, {}, "python recipes/x.py", "MIT", folder=folder)


WRITERS: dict[str, Callable[[MultiDomainModel, pathlib.Path], object]] = {
    "weights": lambda model, folder: save_weights(model, folder / "a.weights.h5"),
    "half weights": lambda model, folder: save_weights(model, folder / "a.weights.h5", half=True),
    "registry": register,
    "domain pack": lambda model, folder: save_domain_pack(model, "photo", folder / "photo.zip"),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("exists", [False, True])
def test_no_half_file_is_left_and_the_old_one_is_whole(
    name: str, exists: bool, tmp_path: pathlib.Path
) -> None:
    model = network()
    if exists:
        WRITERS[name](model, tmp_path)
    before = contents(tmp_path)
    for variable in model.weights:
        variable.assign(np.random.default_rng(0).uniform(1.0, 2.0, variable.shape))
    with full_disk(), pytest.raises(OSError):
        WRITERS[name](model, tmp_path)
    assert contents(tmp_path) == before
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    WRITERS[name](model, tmp_path)
    assert contents(tmp_path).keys() == (before or contents(tmp_path)).keys()
    if name == "registry":
        assert set(read_registry(tmp_path)) == {"own"}
    if name == "domain pack":
        read_pack(tmp_path / "photo.zip")


def compiled() -> MultiDomainModel:
    model = toys.network(1)
    model.compile(keras.optimizers.Adam(0.01))
    return model


def batches(first: int) -> Iterator[tuple]:
    while True:
        yield toys.batch(first)
        first += 1


class FullFromHere(keras.callbacks.Callback):
    """A disk that is full after so many epochs."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs, self.disk = epochs, contextlib.ExitStack()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if epoch + 1 == self.epochs:
            self.disk.enter_context(full_disk())


def test_a_training_goes_on_from_the_last_backup_for_which_there_was_room(
    tmp_path: pathlib.Path,
) -> None:
    whole, folder = compiled(), tmp_path / "full"
    resumable_fit(whole, batches, 3, tmp_path / "whole", steps_per_epoch=1)
    full = FullFromHere(epochs=1)
    message = r"after epoch 2 must have \d+ bytes beside the last one"
    with full.disk, pytest.raises(OSError, match=message) as caught:
        resumable_fit(compiled(), batches, 3, folder, steps_per_epoch=1, callbacks=[full])
    assert caught.value.errno == errno.EFBIG
    assert sorted(contents(folder)) == ["epoch-1.weights.h5", "history.csv"]
    resumed = compiled()
    history = resumable_fit(resumed, batches, 3, folder, steps_per_epoch=1)
    assert len(history["loss"]) == 2
    toys.assert_equal_weights(resumed, whole, rtol=1e-5, atol=1e-6)


def test_no_file_of_weights_takes_more_than_is_asked_for(tmp_path: pathlib.Path) -> None:
    for model in (network(), compiled(), toys.distiller()):
        model.compile(keras.optimizers.Adam())
        model.fit(*toys.batch(0), verbose=0)
        model.save_weights(tmp_path / "a.weights.h5", overwrite=True)
        size = (tmp_path / "a.weights.h5").stat().st_size
        assert size <= bytes_of(model) < 20 * size


@pytest.mark.slow
@pytest.mark.parametrize("exists", [False, True])
def test_no_half_export_is_left_and_the_old_one_is_whole(
    exists: bool, tmp_path: pathlib.Path
) -> None:
    pytest.importorskip("tensorflow")
    model = network()
    if exists:
        export(model, tmp_path / "served", domains=["photo"])
    before = contents(tmp_path)
    # TensorFlow's own error; on other backends that of the process which writes.
    with full_disk(), pytest.raises(Exception):  # noqa: B017
        export(model, tmp_path / "served", overwrite=True)
    assert contents(tmp_path) == before
    assert len(list(tmp_path.iterdir())) == exists
    if exists:
        assert set(load_exported(tmp_path / "served")) == {"photo", "serving_default"}


def test_an_exported_folder_comes_back_where_it_cannot_be_replaced(
    tmp_path: pathlib.Path, monkeypatch
) -> None:
    from keras_univrep.conversion import _files

    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "saved_model.pb").write_text("old")

    def write(models: dict, path: pathlib.Path) -> None:
        path.mkdir()

    def full(self: pathlib.Path, target: pathlib.Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(_files._WRITERS, "tf_saved_model", write)
    monkeypatch.setattr(_files, "endpoints", lambda model: {})
    monkeypatch.setattr(pathlib.Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        _files.write(network(), tmp_path / "served", "tf_saved_model", {})
    assert contents(tmp_path) == {"served/saved_model.pb": b"old"}
