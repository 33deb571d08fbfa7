"""`convert_weights.py` there and back."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np

from keras_univrep.backbones import ResNet18
from keras_univrep.conversion import to_torch

RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "convert_weights.py"


def convert(source, target, *flags):
    command = [sys.executable, str(RECIPE), "--source=url", f"--input={source}"]
    return subprocess.run(
        [*command, f"--output={target}", *flags],
        capture_output=True, text=True, env=os.environ, check=False,
    )  # fmt: skip


def test_a_network_goes_to_arrays_and_what_exists_is_kept(tmp_path):
    keras.utils.set_random_seed(0)
    network = ResNet18(width=0.125)
    network.save(tmp_path / "url.keras")
    process = convert(tmp_path / "url.keras", tmp_path / "url.npz", "--back")
    assert process.returncode == 0, process.stderr[-2000:]
    assert f"{network.count_params():,} weights" in process.stdout
    with np.load(tmp_path / "url.npz") as found:
        expected = to_torch(network, "url")
        assert set(found.files) == set(expected)
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)
    again = convert(tmp_path / "url.keras", tmp_path / "url.npz", "--back")
    assert again.returncode != 0 and "must be free" in again.stderr + again.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["url.keras", "url.npz"]
