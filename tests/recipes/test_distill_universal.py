import json
import os
import pathlib
import subprocess
import sys

import pytest

RECIPE = pathlib.Path(__file__).parents[2] / "recipes" / "distill_universal.py"


def run(folder, *flags):
    command = [sys.executable, str(RECIPE), f"--output_dir={folder}", "--smoke", *flags]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    process = run(folder)
    assert process.returncode == 0, process.stderr[-3000:]
    return folder, process


def test_smoke_prints_the_table_and_leaves_result_models_and_pictures(finished):
    folder, process = finished
    result = json.loads((folder / "results.json").read_text())
    methods = [row["method"] for row in result["table"]]
    assert methods == ["Single-domain", "MDL", "Universal", "Universal (RA)"]
    for row in result["table"]:
        assert 0.0 <= row["mean"] <= 100.0 and row["method"] in process.stdout
    assert result["table"][0]["delta_mdl"] == 0.0
    names = {path.name for path in folder.iterdir()}
    assert {"neighbours.png", "similarity.png", "universal.keras", "mdl.keras"} <= names


def test_a_second_run_trains_nothing_again_and_gives_the_same_table(finished):
    folder, _ = finished
    first = json.loads((folder / "results.json").read_text())["table"]
    stages = {path: path.stat().st_mtime_ns for path in folder.glob("*/network.weights.h5")}
    assert len(stages) == 8
    assert run(folder).returncode == 0
    assert json.loads((folder / "results.json").read_text())["table"] == first
    assert {path: path.stat().st_mtime_ns for path in stages} == stages


def test_a_folder_of_other_settings_is_left_as_it_is(finished):
    folder, _ = finished
    before = (folder / "mdl" / "network.weights.h5").read_bytes()
    process = run(folder, "--method=MDL", "--learning_rate=0.5")
    assert process.returncode != 0 and "Choose another --output_dir" in process.stderr
    assert (folder / "mdl" / "network.weights.h5").read_bytes() == before
