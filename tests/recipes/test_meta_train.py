import json

import numpy as np
import pytest
from PIL import Image

from tests.recipes.runner import refuser, runner

run = runner("meta_train")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, "--method=modulator", must_succeed=True)


def test_smoke_prints_the_table_and_leaves_weights_and_pictures(finished):
    folder, process = finished
    (row,) = json.loads((folder / "results.json").read_text())["table"]
    assert row["test"] == "5-way 1-shot" and row["tasks"] == 4 and row["method"] == "modulator"
    for name in ("accuracy", "nil"):
        assert 0.0 <= row[name] <= 100.0 and row[f"{name}_interval"] >= 0.0
    assert str(row["accuracy"]) in process.stdout
    assert (folder / "best.weights.h5").exists()
    assert -1.0 <= row["agreement"] <= 1.0
    for picture in ("curve.png", "attention.png", "optimal.png"):
        assert (folder / picture).stat().st_size > 1000
    lines = (folder / "training" / "history.csv").read_text().splitlines()
    assert len(lines) == 3 and "val_accuracy" in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["maml", "first_order_maml", "anil", "reptile", "probabilistic_modulator"]
)
def test_every_method_runs(method, tmp_path):
    run(tmp_path, f"--method={method}", must_succeed=True)
    (row,) = json.loads((tmp_path / "results.json").read_text())["table"]
    assert row["method"] == method


@pytest.mark.slow
def test_folders_are_tested_on_as_well(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("kitchen", "street", "forest", "beach", "library", "tower"):
        (tmp_path / "places" / name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (40, 50, 3)).astype("uint8")
            Image.fromarray(pixels).save(tmp_path / "places" / name / f"{number}.png")
    arguments = ("--method=anil", f"--test_dirs={tmp_path / 'places'}")
    run(tmp_path / "run", *arguments, "--data=mini_imagenet", must_succeed=True)
    table = json.loads((tmp_path / "run" / "results.json").read_text())["table"]
    assert [row["images"] for row in table] == ["eurosat", "places"]
    assert all(0 <= row["accuracy"] <= 100 and row["tasks"] == 4 for row in table)
    assert "hold colour images" in refuser("meta_train")(tmp_path / "grey", *arguments)


@pytest.mark.slow
def test_a_second_run_trains_nothing_again_and_gives_the_same_table(finished):
    folder, _ = finished
    first = json.loads((folder / "results.json").read_text())["table"]
    assert run(folder, "--method=modulator").returncode == 0
    assert json.loads((folder / "results.json").read_text())["table"] == first
    message = refuser("meta_train", ValueError)(folder, "--method=anil")
    assert "Choose another folder" in message
