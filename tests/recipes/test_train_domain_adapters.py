import json

import pytest

from keras_univrep.models import read_pack
from tests.recipes.runner import refuser, runner

run = runner("train_domain_adapters")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, must_succeed=True)


def test_smoke_prints_the_table_and_leaves_packs(finished):
    folder, process = finished
    result = json.loads((folder / "results.json").read_text())
    assert [row["method"] for row in result["table"]] == ["parallel", "parallel, joint svd"]
    for row in result["table"]:
        assert 0.0 <= row["signdigits"] <= 100.0 and row["method"] in process.stdout
        assert row["parameters"] > 1.0
    pack, _ = read_pack(folder / "parallel" / "seed0" / "signdigits.zip")
    assert (pack.domain, pack.num_classes, len(pack.class_names)) == ("signdigits", 10, 10)


@pytest.mark.slow
def test_a_second_run_trains_nothing_again_and_gives_the_same_table(finished):
    folder, _ = finished
    first = json.loads((folder / "results.json").read_text())["table"]
    packs = {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*.zip")}
    assert len(packs) == 2
    assert run(folder).returncode == 0
    again = json.loads((folder / "results.json").read_text())["table"]
    assert [{**row, "seconds": 0} for row in again] == [{**row, "seconds": 0} for row in first]
    assert {path: path.stat().st_mtime_ns for path in packs} == packs


def test_a_folder_of_other_settings_is_left_as_it_is(finished):
    folder, _ = finished
    before = (folder / "results.json").read_bytes()
    message = refuser("train_domain_adapters", ValueError)(folder, "--learning_rate=0.5")
    assert "Choose another folder" in message
    assert (folder / "results.json").read_bytes() == before


def test_unknown_domains_are_named_with_the_known_ones(tmp_path):
    message = refuser("train_domain_adapters")(tmp_path, "--domains=birds")
    assert "signdigits" in message and "birds" in message


@pytest.mark.slow
@pytest.mark.parametrize("study", ["size", "trunk"])
def test_the_studies_leave_their_picture(study, tmp_path):
    flags = ["--fraction=0.5", "--fraction=1.0", "--trunk_width=0.125", "--trunk_classes=20"]
    run(tmp_path, f"--study={study}", "--width=0.125", *flags, must_succeed=True)
    assert (tmp_path / f"results_{study}.json").exists()
    picture = "size_signdigits.png" if study == "size" else "trunk.png"
    assert (tmp_path / picture).stat().st_size > 1000
