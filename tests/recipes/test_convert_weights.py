"""`convert_weights.py` there and back."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_univrep.backbones import ResNet18
from keras_univrep.conversion import to_torch

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "convert_weights.py"
WRITER = ROOT / "tests" / "conversion" / "torch_networks.py"


def convert(path, target, *flags, source="url"):
    command = [sys.executable, str(RECIPE), f"--source={source}", f"--input={path}"]
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parallel", "url"])
def test_a_checkpoint_becomes_a_keras_file_that_answers_as_it_did(tmp_path, kind):
    write = [sys.executable, str(WRITER), str(tmp_path), "4"]
    subprocess.run(write, capture_output=True, check=True)
    adapted = kind == "parallel"
    flags = ["--domains=photo,sketch", "--modules=torch_networks"] if adapted else []
    source = "residual_adapters" if adapted else "url"
    target = tmp_path / "new" / "network.keras"
    process = convert(tmp_path / f"{kind}.pth", target, *flags, source=source)
    assert process.returncode == 0, process.stderr[-2000:]
    assert [path.name for path in target.parent.iterdir()] == ["network.keras"]
    network = keras.models.load_model(target, compile=False)
    with np.load(tmp_path / f"{kind}.npz") as stored:
        images, expected = stored["images"].transpose(0, 2, 3, 1), dict(stored)
    named = {"task0": "photo", "task1": "sketch"} if adapted else {"task0": None}
    for task, domain in named.items():
        options = {} if domain is None else {"domain": domain}
        found = keras.ops.convert_to_numpy(network(images, training=False, **options))
        scale = np.abs(expected[task]).max()
        np.testing.assert_allclose(found / scale, expected[task] / scale, atol=1e-4)


def test_a_checkpoint_that_is_none_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / "bad.pth").write_bytes(b"no checkpoint")
    process = convert(tmp_path / "bad.pth", tmp_path / "network.keras")
    assert process.returncode != 0
    assert "must be a file of PyTorch's" in process.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bad.pth"]
