import json

import h5py
import pytest

from tests.recipes.runner import refuser, runner

run = runner("omni_classification")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, "--methods=episodic,omni", must_succeed=True)


def test_smoke_prints_the_table_and_leaves_weights(finished):
    folder, process = finished
    result = json.loads((folder / "results.json").read_text())
    methods = [row["method"] for row in result["table"]]
    flows = [f"omni, {flow} flow" for flow in ("joint", "pre", "meta")]
    assert methods == ["episodic", "omni", *flows]
    assert all(0.0 <= row["accuracy"] <= 100.0 for row in result["table"])
    assert {row["test"] for row in result["table"]} == {"eurosat"}
    assert "omni, meta flow" in process.stdout
    assert (folder / "omni_seed0.weights.h5").exists()
    assert (folder / "attention_eurosat.png").stat().st_size > 10_000


@pytest.mark.slow
def test_several_domains_train_at_once_and_one_is_left_out(tmp_path):
    flags = ("--methods=baseline,feature_wise", "--train=eurosat,signdigits", "--tests=quickdraw")
    run(tmp_path, *flags, must_succeed=True)
    result = json.loads((tmp_path / "results.json").read_text())
    assert [row["method"] for row in result["table"]] == ["baseline", "feature_wise"]
    assert {row["test"] for row in result["table"]} == {"quickdraw"}
    assert result["train"] == ["eurosat", "signdigits"]
    with h5py.File(tmp_path / "baseline_seed0.weights.h5") as file:
        sizes = []
        file.visititems(lambda _, item: sizes.append(getattr(item, "shape", None)))
    # One classifier of the ten classes of each.
    assert (20,) in sizes


@pytest.mark.slow
def test_every_method_is_trained_on_top_of_what_is_there(finished):
    folder, _ = finished
    before = (folder / "omni_seed0.weights.h5").stat().st_mtime_ns
    run(folder, must_succeed=True)
    table = json.loads((folder / "results.json").read_text())["table"]
    assert {"baseline", "episodic", "joint", "omni", "ensemble"} <= {r["method"] for r in table}
    assert (folder / "omni_seed0.weights.h5").stat().st_mtime_ns == before


@pytest.mark.slow
def test_other_settings_need_another_folder(finished):
    folder, _ = finished
    message = refuser("omni_classification", ValueError)(folder, "--decay=0.5")
    assert "Choose another folder" in message
