import json

import pytest

from tests.recipes.runner import runner

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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "tasks"), [("baseline", "depth"), ("probabilistic_modulator", "classification")]
)
def test_a_single_task_and_every_method_run(method, tasks, tmp_path):
    run(tmp_path, f"--method={method}", f"--tasks={tasks}", must_succeed=True)
    check(tmp_path, [tasks])
