import json

import pytest

from tests.recipes.runner import refuser, runner

run = runner("train_prototypical")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, must_succeed=True)


def test_smoke_prints_the_table_and_leaves_weights_and_curve(finished):
    folder, process = finished
    (row,) = json.loads((folder / "results.json").read_text())["table"]
    assert row["test"] == "5-way 1-shot" and row["episodes"] == 10
    assert 0.0 <= row["accuracy"] <= 100.0 and row["interval"] >= 0.0
    assert row["method"] in process.stdout and str(row["accuracy"]) in process.stdout
    assert (folder / "best.weights.h5").exists()
    assert (folder / "curve.png").stat().st_size > 1000
    lines = (folder / "training" / "history.csv").read_text().splitlines()
    assert len(lines) == 3 and "val_accuracy" in lines[0]


@pytest.mark.slow
def test_validation_characters_may_be_trained_on(tmp_path):
    run(tmp_path, "--train_on_validation", "--padding=2", must_succeed=True)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["trained_on"] == "train+validation" and results["validation"] is None
    assert (tmp_path / "best.weights.h5").exists()


@pytest.mark.slow
def test_a_second_run_trains_nothing_again_and_gives_the_same_table(finished):
    folder, _ = finished
    first = json.loads((folder / "results.json").read_text())["table"]
    before = (folder / "best.weights.h5").stat().st_mtime_ns
    assert run(folder).returncode == 0
    assert json.loads((folder / "results.json").read_text())["table"] == first
    assert (folder / "best.weights.h5").stat().st_mtime_ns == before
    message = refuser("train_prototypical", ValueError)(folder, "--learning_rate=0.5")
    assert "Choose another folder" in message
