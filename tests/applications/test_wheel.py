"""The built wheel on a clean machine: a new environment, another folder, no network."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[2]
BUILT = ("keras_univrep", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")

# What is installed, and accuracies on held-out images beside those of the registry.
USE = """
import importlib.metadata, json, os, socket, sys

def refuse(*arguments):
    raise OSError("no network")

socket.socket.connect = socket.create_connection = refuse
import keras
import keras_univrep
from keras_univrep import datasets, evaluation
from keras_univrep.applications import UniversalResNet26, find_entry

found = {"file": keras_univrep.__file__, "backend": keras.backend.backend()}
found["version"] = importlib.metadata.version("keras_univrep")
model = UniversalResNet26(weights="vdd")
found["domains"] = len(model.domains)
scores = {}
if "KERAS_UNIVREP_DATA" in os.environ:
    names = ["gtsrb", "flowers17", "ucf101_subset"]
    size = find_entry("vdd").domain("gtsrb").input_size[0]
    domains = datasets.decathlon_local(size=size, names=names)
    measured = evaluation.domain_accuracy(model, domains, "test")
    scores |= {name: (measured[name], find_entry("vdd").measured[name]) for name in names}
# Held-out images that are in the wheel itself.
model = UniversalResNet26(weights="demo")
domains = {"eurosat": datasets.load_domain("eurosat")}
measured = evaluation.domain_accuracy(model, domains, "test")
scores["eurosat"] = (measured["eurosat"], find_entry("demo").measured["eurosat"])
print(json.dumps({**found, "scores": scores}))
"""


def run(command: list, **options) -> str:
    process = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return process.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> pathlib.Path:
    """The environment, which has our dependencies from here and the library from the wheel."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("clean")
    source, fresh = folder / "source", folder / "environment"
    source.mkdir()
    for name in BUILT:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    offline = ["--no-index", "--no-deps"]
    run([*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", folder, source])
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(source)
    run([sys.executable, "-m", "venv", "--without-pip", fresh])
    python = fresh / "bin" / "python"
    place = pathlib.Path(
        run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
    )
    # A path alone: what is installed here in editable form is not found through it.
    (place / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run([*pip, "--python", python, "install", *offline, wheel])
    return python


@pytest.mark.slow
def test_the_wheel_scores_what_the_card_says_offline_and_elsewhere(installed, tmp_path) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "KERAS_HOME")}
    environment |= {"HOME": str(tmp_path), "KERAS_BACKEND": keras.backend.backend()}
    output = run([installed, "-c", USE], cwd=tmp_path, env=environment)
    found = json.loads(output.splitlines()[-1])
    assert pathlib.Path(found["file"]).is_relative_to(installed.parents[1])
    assert (found["backend"], found["domains"]) == (keras.backend.backend(), 8)
    assert "eurosat" in found["scores"]
    for name, (score, card) in found["scores"].items():
        assert abs(score - card) <= 1.0, (name, score, card)
    program = run([installed.with_name("keras-univrep"), "--help"], cwd=tmp_path, env=environment)
    assert "classify_folder" in program
