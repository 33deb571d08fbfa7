"""`x_learner.py` and `downstream.py`, one after the other."""

import json

import keras
import numpy as np
import pytest

from keras_univrep import backbones
from tests.recipes.runner import refuser, runner

# Graphs of four backbones are built and compiled several times.
pytestmark = pytest.mark.slow
run, downstream = runner("x_learner"), runner("downstream")
METHODS = ["single", "hard sharing", "expansion", "X-Learner"]
FLAGS = [f"--method={method}" for method in METHODS]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, *FLAGS, must_succeed=True)


def test_smoke_leaves_tables_backbones_and_pictures(finished):
    folder, process = finished
    result = json.loads((folder / "results.json").read_text())
    for table in (result["table"], result["validation"]):
        assert [row["method"] for row in table] == METHODS
        for row in table:
            assert 0.0 <= row["classification, accuracy"] <= 100.0
            assert 0.0 <= row["detection, AP50"] <= 100.0 and row["depth, abs. error"] > 0.0
            assert row["method"] in process.stdout
    assert (folder / "seed0" / "boxes,_X-Learner.png").stat().st_size > 1000
    images = np.zeros((1, 32, 32, 3), "float32")
    sizes = {}
    for method in ("hard_sharing", "expansion", "X-Learner"):
        backbone = keras.models.load_model(folder / "seed0" / method / "backbone.keras")
        assert method == "expansion" or isinstance(backbone, backbones.ResNet50)
        sizes[method] = backbone(images)["level5"].shape[-1]
    # What is squeezed has the cost of one; of four tasks the maps lie side by side.
    assert sizes["expansion"] == 4 * sizes["X-Learner"] == 4 * sizes["hard_sharing"]


def test_a_second_run_trains_nothing_again_and_other_settings_are_refused(finished):
    folder, _ = finished
    first = json.loads((folder / "results.json").read_text())["table"]
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("seed0/**/model.keras")}
    assert len(kept) == 7
    run(folder, *FLAGS, must_succeed=True)
    assert json.loads((folder / "results.json").read_text())["table"] == first
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    message = refuser("x_learner", ValueError)(folder, "--learning_rate=0.5")
    assert "Choose another folder" in message


def test_every_variant_runs(finished):
    folder, _ = finished
    names = ["expansion++", "X-Learner++", "X-Learner_r", "X-Learner_t", "X-Learner_p", "MuST"]
    run(folder, *(f"--method={name}" for name in [*names, "SimCLR"]), must_succeed=True)
    table = json.loads((folder / "results.json").read_text())["table"]
    assert [row["method"] for row in table] == names
    assert (folder / "seed0" / "SimCLR" / "backbone.keras").exists()


def test_backbones_are_probed_and_tuned(finished, tmp_path):
    folder, _ = finished
    flags = [f"--run_dir={folder}", "--method=hard sharing", "--method=expansion"]
    process = downstream(tmp_path, *flags, "--finetune=depth/rooms", must_succeed=True)
    table = json.loads((tmp_path / "results.json").read_text())["table"]
    assert [row["method"] for row in table] == ["random", "expansion", "hard sharing"]
    for row in table:
        assert 0.0 <= row["average"] <= 100.0 and row["depth/rooms, abs. error"] > 0.0
        assert row["method"] in process.stdout
    assert (tmp_path / "probes.png").stat().st_size > 1000
    assert "depth/caves" in refuser("downstream")(tmp_path, *flags, "--finetune=depth/caves")
