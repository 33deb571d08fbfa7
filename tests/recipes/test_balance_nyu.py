import json

import pytest

from tests.recipes.runner import refuser, runner

TASKS = ["segmentation", "depth", "normals"]

run = runner("balance_nyu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, "--log_cosines", must_succeed=True)


def test_cosines_are_drawn_for_any_method_if_asked_for(finished):
    folder, _ = finished
    assert (folder / "seed0" / "URL" / "conflict.png").stat().st_size > 1000
    assert not list(folder.glob("seed0/stl_*/conflict.png"))


def test_smoke_leaves_the_tables_and_a_picture(finished):
    folder, process = finished
    result = json.loads((folder / "results.json").read_text())
    for table in (result["table"], result["validation"]):
        assert [row["method"] for row in table] == ["STL", "URL"]
        assert table[0]["Delta_MTL"] == 0.0
        for row in table:
            assert 0.0 <= row["segmentation, mIoU"] <= 100.0
            assert row["depth, abs. error"] > 0.0 and 0.0 < row["normals, mean angle"] < 180.0
            assert row["method"] in process.stdout
    columns = {"segmentation, mIoU": 1, "depth, abs. error": -1, "normals, mean angle": -1}
    single = result["table"][0]
    for row in result["table"]:
        changes = [
            100 * sign * (row[name] - single[name]) / single[name] for name, sign in columns.items()
        ]
        assert row["Delta_MTL"] == pytest.approx(sum(changes) / 3, abs=0.05)
    assert (folder / "seed0" / "maps.png").stat().st_size > 1000


@pytest.mark.slow
def test_a_second_run_trains_nothing_again_and_gives_the_same_table(finished):
    folder, _ = finished
    first = json.loads((folder / "results.json").read_text())["table"]
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("seed0/*/network.keras")}
    assert {path.parent.name for path in kept} == {f"stl_{t}" for t in TASKS} | {"URL"}
    assert run(folder).returncode == 0
    assert json.loads((folder / "results.json").read_text())["table"] == first
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.slow
def test_other_backbones_maps_and_adapters_run(tmp_path):
    run(tmp_path, "--backbone=hrnet18", "--match=each", "--adapter=nonlinear", must_succeed=True)
    table = json.loads((tmp_path / "results.json").read_text())["table"]
    assert [row["method"] for row in table] == ["STL", "URL"]


def test_a_folder_of_other_settings_is_left_as_it_is(finished):
    folder, _ = finished
    before = (folder / "results.json").read_bytes()
    message = refuser("balance_nyu", ValueError)(folder, "--learning_rate=0.5")
    assert "Choose another folder" in message
    assert (folder / "results.json").read_bytes() == before


def test_unknown_methods_are_named_with_the_known_ones(tmp_path):
    process = run(tmp_path, "--nosmoke", "--method=magic")
    assert process.returncode != 0
    assert "magic" in process.stderr and "pcgrad" in process.stderr


def test_balancers_of_gradients_and_of_the_representation_run(tmp_path):
    methods = ("pcgrad", "mgda_ub", "URL+mgda_ub", "BAM")
    run(tmp_path, *(f"--method={method}" for method in methods), must_succeed=True)
    table = json.loads((tmp_path / "results.json").read_text())["table"]
    assert [row["method"] for row in table] == ["STL", *methods]
    assert (tmp_path / "seed0" / "URL_mgda_ub" / "conflict.png").stat().st_size > 1000
    assert not (tmp_path / "seed0" / "BAM" / "conflict.png").exists()


def test_a_method_that_the_backbone_does_not_allow_is_refused_at_once(tmp_path):
    message = refuser("balance_nyu")(tmp_path, "--backbone=mtan", "--method=URL+mgda_ub")
    assert "mgda_ub" in message and "segnet" in message and not any(tmp_path.iterdir())
