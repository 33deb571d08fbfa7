import os
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_univrep.applications import UniversalResNet26, save_weights

SMALL = {"classes": {"a": 2, "b": 3}, "width": 0.125, "adapter": "parallel", "frozen_trunk": True}


def arrays(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.weights]


def test_half_precision_rounds_kernels_and_nothing_else(tmp_path):
    model = UniversalResNet26(None, **SMALL)
    for weight in model.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    full = save_weights(model, tmp_path / "full.weights.h5")
    half = save_weights(model, tmp_path / "half.weights.h5", half=True)
    assert half.stat().st_size < full.stat().st_size
    again = UniversalResNet26(half, **SMALL)
    for first, second in zip(arrays(model), arrays(again), strict=True):
        assert second.dtype == first.dtype
        wanted = first.astype("float16").astype("float32") if first.ndim > 1 else first
        np.testing.assert_array_equal(second, wanted)


def test_kernels_that_half_precision_cannot_hold_are_refused(tmp_path):
    model = UniversalResNet26(None, classes=2, width=0.125)
    kernel = model.heads[0].kernel
    kernel.assign(keras.ops.full(kernel.shape, 1e6))
    with pytest.raises(ValueError, match="half=False"):
        save_weights(model, tmp_path / "a.weights.h5", half=True)
    assert not list(tmp_path.iterdir())


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must end with"):
        save_weights(UniversalResNet26(None, classes=2, width=0.125), tmp_path / "a.h5")


@pytest.mark.parametrize("half", [False, True])
def test_an_error_while_writing_leaves_the_old_file_as_it_was(half, tmp_path, monkeypatch):
    model = UniversalResNet26(None, classes=2, width=0.125)
    path = save_weights(model, tmp_path / "a.weights.h5", half)
    before = path.read_bytes()
    write = keras.Model.save_weights

    def full(self, filepath, *args, **options):
        write(self, filepath, *args, **options)
        os.truncate(filepath, 100)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keras.Model, "save_weights", full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(model, path, half)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.weights.h5"]


def test_what_a_killed_process_left_long_ago_is_removed_and_what_another_writes_is_not(tmp_path):
    for name, age in (("old", 2), ("new", 0)):
        folder = tmp_path / f".partial-{name}"
        folder.mkdir()
        (folder / "a.weights.h5").touch()
        when = time.time() - 86400 * age
        os.utime(folder, (when, when))
    save_weights(UniversalResNet26(None, classes=2, width=0.125), tmp_path / "a.weights.h5")
    assert sorted(file.name for file in tmp_path.iterdir()) == [".partial-new", "a.weights.h5"]


SAVE = (
    "import sys, itertools\n"
    "from keras_univrep.applications import UniversalResNet26, save_weights\n"
    "model = UniversalResNet26(None, classes=2, width=0.125)\n"
    "for i in itertools.count():\n"
    "    save_weights(model, sys.argv[1])\n"
    "    print('saved', flush=True)\n"
)


@pytest.mark.slow
def test_a_kill_while_saving_leaves_a_whole_file(tmp_path):
    path = tmp_path / "a.weights.h5"
    process = subprocess.Popen(
        [sys.executable, "-c", SAVE, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "saved\n"
    # Some way into one of the next writings.
    while not list(tmp_path.glob(".partial-*/*.h5")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    UniversalResNet26(path, classes=2, width=0.125)
