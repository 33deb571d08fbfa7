import hashlib
import json

import h5py
import pytest

from tests.recipes.runner import refuser, runner

run, pack = runner("distill_universal"), runner("pack_weights")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, must_succeed=True)


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
    assert len(stages) == 5
    assert run(folder).returncode == 0
    assert json.loads((folder / "results.json").read_text())["table"] == first
    assert {path: path.stat().st_mtime_ns for path in stages} == stages


def test_a_folder_of_other_settings_is_left_as_it_is(finished):
    folder, _ = finished
    before = (folder / "mdl" / "network.weights.h5").read_bytes()
    refusal = refuser("distill_universal", ValueError)
    assert "Choose another folder" in refusal(folder, "--method=MDL", "--learning_rate=0.5")
    assert (folder / "mdl" / "network.weights.h5").read_bytes() == before


def test_groups_are_distilled_first_and_what_they_teach_is_another_run(finished, tmp_path):
    folder, _ = finished
    flags = ["--domains=omniglot,signdigits,letters", "--method=Universal", "--groups=1"]
    flags.append(f"--teachers_dir={folder}")
    run(tmp_path, *flags, must_succeed=True)
    settings = json.loads((tmp_path / "group1" / "settings.json").read_text())
    assert settings["groups"] == 1 and (tmp_path / "group1" / "finished.json").exists()
    message = refuser("distill_universal", ValueError)(tmp_path, *flags[:2], *flags[3:])
    assert "other values of groups" in message


@pytest.mark.parametrize("groups", ["group 1", "no groups"])
def test_groups_that_cannot_be_are_named(groups, tmp_path):
    message = refuser("distill_universal")(tmp_path, f"--groups={groups}")
    assert f"--groups='{groups}'" in message
    assert ("imagenet12" if groups == "group 1" else "must be a number") in message


@pytest.mark.slow
def test_packed_weights_are_those_of_the_run(finished, tmp_path):
    folder, _ = finished
    flags = (f"--teachers_dir={folder}", f"--run_dir={folder}", "--domains=omniglot,signdigits")
    pack(tmp_path, *flags, must_succeed=True)
    registry = json.loads((tmp_path / "registry.json").read_text())
    assert len(registry) == 4 and {"five_domains", "five_domains_ra"} <= set(registry)
    for entry in registry.values():
        content = (tmp_path / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    with h5py.File(tmp_path / "five_domains_ra.weights.h5") as packed:
        with h5py.File(folder / "universal_ra" / "network.weights.h5") as trained:
            assert weights(packed) == weights(trained)


def weights(file):
    found = {}
    file.visititems(
        lambda name, value: (
            found.update({name: value[()].tobytes()})
            if isinstance(value, h5py.Dataset) and "optimizer" not in name
            else None
        )
    )
    assert found
    return found
