import json

import pytest

from tests.recipes.runner import refuser, runner

# The smoke of `balance_nyu` goes through most of the same code.
pytestmark = pytest.mark.slow
TASKS = ["nyu_segmentation", "nyu_depth", "camvid_segmentation"]

run = runner("balance_two_domains")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, must_succeed=True)


def test_smoke_leaves_a_table_of_both_domains_and_a_picture_of_each(finished):
    folder, process = finished
    result = json.loads((folder / "results.json").read_text())
    for table in (result["table"], result["validation"]):
        assert [row["method"] for row in table] == ["STL", "URL"]
        assert table[0]["Delta_MTL"] == 0.0
        for row in table:
            # Two tasks of one domain and one of the other.
            mean = (2 * row["Delta, nyu"] + row["Delta, camvid"]) / 3
            assert row["Delta_MTL"] == pytest.approx(mean, abs=0.02)
            assert 0.0 <= row["camvid_segmentation, mIoU"] <= 100.0
            assert row["nyu_depth, abs. error"] > 0.0 and row["method"] in process.stdout
    for domain in ("nyu", "camvid"):
        assert (folder / "seed0" / f"maps_{domain}.png").stat().st_size > 1000


def test_a_second_run_trains_nothing_again_and_gives_the_same_table(finished):
    folder, _ = finished
    first = json.loads((folder / "results.json").read_text())["table"]
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("seed0/*/network.keras")}
    assert {path.parent.name for path in kept} == {f"stl_{t}" for t in TASKS} | {"URL"}
    assert run(folder).returncode == 0
    assert json.loads((folder / "results.json").read_text())["table"] == first
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_folder_of_other_settings_is_left_as_it_is(finished):
    folder, _ = finished
    before = (folder / "results.json").read_bytes()
    message = refuser("balance_two_domains", ValueError)(folder, "--learning_rate=0.5")
    assert "Choose another folder" in message
    assert (folder / "results.json").read_bytes() == before
