import json

import numpy as np

from tests.recipes.runner import refuser, runner

run = runner("omni_rl")


def test_smoke_prints_the_table_leaves_pictures_and_is_resumed(tmp_path):
    run(tmp_path, must_succeed=True)
    result = json.loads((tmp_path / "results.json").read_text())
    methods = {row["method"] for row in result["table"]}
    assert {"baseline", "maml", "omni", "omni, pre flow", "omni, meta flow"} <= methods
    assert {row["steps"] for row in result["table"]} == {0, 1, 2}
    assert all(row["return"] < 0 for row in result["table"])
    (chosen,) = result["chosen"].values()
    omni, same = (
        [row["return"] for row in result["table"] if row["method"] == method]
        for method in ("omni", f"omni, {chosen} flow")
    )
    assert omni == same
    for name in ("returns", "training"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    weights = tmp_path / "omni_seed0.weights.h5"
    before = weights.stat().st_mtime_ns
    run(tmp_path, must_succeed=True)
    again = json.loads((tmp_path / "results.json").read_text())
    for one, other in zip(result["table"], again["table"], strict=True):
        np.testing.assert_allclose(one["return"], other["return"], atol=0.01)
    assert weights.stat().st_mtime_ns == before


def test_unknown_methods_are_refused(tmp_path):
    assert "--method must be some of" in refuser("omni_rl")(tmp_path, "--method=trpo")
