"""TensorFlow stays off the accelerator and off machines that lack it."""

import os
import subprocess
import sys

import keras
import pytest

from keras_univrep.datasets.tensorflow_loader import load_tensorflow


@pytest.mark.parametrize(("backend", "hidden"), [("jax", 1), ("torch", 1), ("tensorflow", 0)])
def test_the_gpu_is_hidden_unless_tensorflow_trains(
    backend: str, hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    calls: list[tuple[list[str], str]] = []
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [f"{kind}:0"])
    monkeypatch.setattr(tf.config, "set_visible_devices", lambda d, kind: calls.append((d, kind)))
    assert load_tensorflow() is tf
    assert calls == [([], "GPU")] * hidden


def test_a_running_tensorflow_is_left_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    def refuse(devices: list[str], kind: str) -> None:
        raise RuntimeError("already initialized")

    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(tf.config, "set_visible_devices", refuse)
    assert load_tensorflow() is tf


def test_without_tensorflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ImportError, match=r"pip install keras_univrep\[data\]"):
        load_tensorflow()


PROGRAM = """
import sys
from keras_univrep.datasets import MultiDomainSequence, load_domain, pipeline
batches = MultiDomainSequence([load_domain("eurosat")], "train", 4, training=True)
assert batches[0][0]["eurosat"].shape == (4, 32, 32, 3)
assert "tensorflow" not in sys.modules, "imported"
sys.modules["tensorflow"] = None
try:
    pipeline(load_domain("eurosat"), "train", 4)
except ImportError as error:
    print(error)
"""


def test_the_package_and_the_sequence_do_not_import_tensorflow() -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "pip install keras_univrep[data]" in result.stdout
