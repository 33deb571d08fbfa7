import json
import subprocess
import sys

import numpy as np
import pytest

from tests.datasets.dense_sets import write_liu
from tests.datasets.test_meta_dataset import write_folder
from tests.recipes.runner import RECIPES, runner

run = runner("meta_multi_task")


def check(folder, tasks):
    table = json.loads((folder / "results.json").read_text())["table"]
    assert [row["task"] for row in table] == tasks
    assert all(row["sub_tasks"] == 4 and row["trained_with"] == len(tasks) for row in table)
    for row in table:
        assert 0 <= row["accuracy"] <= 100 and row["accuracy_interval"] >= 0
        assert ("error" in row) == (row["task"] != "classification")
    assert (folder / "best.weights.h5").exists()
    for name in ("curve", *(f"curve-{task}" for task in tasks)):
        assert (folder / f"{name}.png").stat().st_size > 1000
    return table


def test_smoke_prints_numbers_of_every_task(tmp_path):
    process = run(tmp_path, "--method=modulator", must_succeed=True)
    table = check(tmp_path, ["classification", "depth", "normals", "vanishing_point"])
    assert str(table[0]["accuracy"]) in process.stdout
    assert all(row["error"] > 0 for row in table[1:])


def test_what_is_unknown_is_not_judged():
    # In a process of its own, which takes the recipe's flags.
    program = """if True:
        import runpy, sys
        import numpy as np
        judge = runpy.run_path(sys.argv[1])["judge"]
        label = np.zeros((2, 4, 4, 1))
        assert judge("depth", np.ones_like(label), label) == {}
        label[0, 0, 0] = 0.5
        assert judge("depth", np.ones_like(label), label) == {"accuracy": 0.0, "error": 0.25}
    """
    command = [sys.executable, "-c", program, str(RECIPES / "meta_multi_task.py")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "tasks"), [("baseline", "depth"), ("probabilistic_modulator", "classification")]
)
def test_a_single_task_and_every_method_run(method, tasks, tmp_path):
    run(tmp_path, f"--method={method}", f"--tasks={tasks}", must_succeed=True)
    check(tmp_path, [tasks])


@pytest.mark.slow
def test_rooms_and_scenes_come_from_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    write_liu(tmp_path / "rooms", {"train": 30, "val": 9}, {"depth": "depth"}, (288, 384))
    write_folder(tmp_path / "scenes", [f"scene{number:02d}" for number in range(20)])
    folders = [f"--rooms_dir={tmp_path / 'rooms'}", f"--places_dir={tmp_path / 'scenes'}"]
    # A plane that recedes to the right: it has normals, and too few edges for vanishing points.
    plane = np.linspace(1.0, 4.0, 384) + np.zeros((288, 1))
    for path in (tmp_path / "rooms").glob("*/depth/*.npy"):
        np.save(path, plane[..., None])
    tasks = ["classification", "depth", "normals"]
    run(tmp_path / "run", *folders, f"--tasks={','.join(tasks)}", must_succeed=True)
    check(tmp_path / "run", tasks)
