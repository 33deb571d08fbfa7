import json
import os
import pathlib
import subprocess
import sys

import pytest

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"


def run(recipe, folder, *flags):
    command = [sys.executable, str(RECIPES / recipe), f"--output_dir={folder}", "--smoke", *flags]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    process = run("meta_test.py", folder, "--protocol=five_way_one_shot")
    assert process.returncode == 0, process.stderr[-3000:]
    return folder, process


def test_smoke_leaves_a_table_with_means_and_ranks(finished):
    folder, process = finished
    table = json.loads((folder / "results.json").read_text())["table"]
    methods = ["Best SDL, ncc", "mdl, ncc", "url, ncc", "Best SDL, pa", "mdl, pa", "url, pa"]
    assert [row["method"] for row in table] == methods
    assert sum(row["rank"] for row in table) == pytest.approx(21.0, abs=0.05)
    for row in table:
        assert 0.0 <= row["omniglot"] <= 100.0 and row["omniglot +-"] >= 0.0
        assert row["method"] in process.stdout
        assert row["seen"] == pytest.approx((row["quickdraw"] + row["signdigits"]) / 2, abs=0.01)
    assert (folder / "five_way_one_shot.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_second_run_measures_nothing_again(finished):
    folder, _ = finished
    first = json.loads((folder / "results.json").read_text())["table"]
    kept = [*folder.glob("features/*.npz"), *folder.glob("measured/*/*.json")]
    times = {path: path.stat().st_mtime_ns for path in kept}
    assert len(times) > 30
    assert run("meta_test.py", folder, "--protocol=five_way_one_shot").returncode == 0
    assert json.loads((folder / "results.json").read_text())["table"] == first
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_retrieval_takes_the_same_features_and_draws_galleries(finished):
    folder, _ = finished
    times = {path: path.stat().st_mtime_ns for path in folder.glob("features/*-test.npz")}
    process = run("retrieval.py", folder, "--queries=2", "--neighbours=3")
    assert process.returncode == 0, process.stderr[-3000:]
    assert {path: path.stat().st_mtime_ns for path in times} == times
    table = json.loads((folder / "results_retrieval.json").read_text())["table"]
    methods = ["sdl_quickdraw", "sdl_signdigits", "Sum", "Concatenate", "mdl", "url"]
    assert [row["method"] for row in table] == methods
    for row in table:
        recalls = [row[f"letters @{k}"] for k in (1, 2, 4, 8)]
        assert recalls == sorted(recalls) and 0.0 < recalls[-1] <= 100.0
        assert row["method"] in process.stdout
    assert (folder / "galleries" / "letters_url.png").stat().st_size > 1000
    assert not (folder / "galleries" / "letters_sdl_quickdraw.png").exists()


def test_unknown_domains_are_named_with_the_known_ones(finished, tmp_path):
    folder, _ = finished
    process = run(
        "meta_test.py", tmp_path, "--domains=birds", f"--networks_dir={folder / 'networks'}"
    )
    assert process.returncode != 0
    assert "signdigits" in process.stderr and "birds" in process.stderr
