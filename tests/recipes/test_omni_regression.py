import json

import pytest

from tests.recipes.runner import refuser, runner

run = runner("omni_regression")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, must_succeed=True)


def test_smoke_prints_the_table_and_leaves_weights_and_pictures(finished):
    folder, process = finished
    result = json.loads((folder / "results.json").read_text())
    methods = {row["method"] for row in result["table"]}
    assert {"baseline", "maml", "joint", "ensemble", "omni", "omni, meta flow"} <= methods
    assert {row["steps"] for row in result["table"]} == {1, 2, 5, 10}
    assert all(row["K"] == 5 and row["MSE"] > 0 for row in result["table"])
    (chosen,) = result["chosen"].values()
    omni, same = (
        [row["MSE"] for row in result["table"] if row["method"] == method]
        for method in ("omni", chosen)
    )
    assert omni == same and chosen in process.stdout
    for name in ("errors_5_shot", "waves_after_1", "waves_after_10"):
        assert (folder / f"{name}.png").stat().st_size > 1000
    assert (folder / "omni_5_shot_seed0.weights.h5").exists()


def test_unknown_methods_are_refused(tmp_path):
    message = refuser("omni_regression")(tmp_path, "--methods=ensemble")
    assert "--methods must be some of" in message


@pytest.mark.slow
def test_a_second_run_trains_nothing_again_and_gives_the_same_table(finished):
    folder, _ = finished
    first = json.loads((folder / "results.json").read_text())["table"]
    weights = folder / "omni_5_shot_seed0.weights.h5"
    before = weights.stat().st_mtime_ns
    assert run(folder).returncode == 0
    assert json.loads((folder / "results.json").read_text())["table"] == first
    assert weights.stat().st_mtime_ns == before
