import json
import shutil

import numpy as np
import pytest

from keras_univrep import datasets, evaluation, few_shot
from tests.recipes.runner import refuser, runner

meta_test, retrieval = runner("meta_test"), runner("retrieval")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    process = meta_test(folder, "--protocol=five_way_one_shot", must_succeed=True)
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
    assert meta_test(folder, "--protocol=five_way_one_shot").returncode == 0
    assert json.loads((folder / "results.json").read_text())["table"] == first
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_retrieval_takes_the_same_features_and_draws_galleries(finished):
    folder, _ = finished
    times = {path: path.stat().st_mtime_ns for path in folder.glob("features/*-test.npz")}
    process = retrieval(folder, "--queries=2", "--neighbours=3", must_succeed=True)
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


@pytest.mark.slow
def test_every_classifier_runs_and_batches_give_what_single_episodes_give(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder / "features", tmp_path / "features")
    chosen = ["ncc", "ncc_dot", "pa_unseen", "pa_cross_validated", "transductive", "scm", "knn"]
    joint = ["sur", "urt"]
    process = meta_test(
        tmp_path, f"--networks_dir={folder / 'networks'}", "--domains=signdigits",
        *(f"--classifier={name}" for name in chosen + joint),
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-3000:]
    table = json.loads((tmp_path / "results.json").read_text())["table"]
    networks = ("Best SDL", "mdl", "url")
    methods = [f"{network}, {name}" for name in chosen for network in networks]
    assert [row["method"] for row in table] == methods + [f"all SDL, {name}" for name in joint]
    losses = json.loads(next((tmp_path / "urt").glob("*.json")).read_text())["losses"]
    assert len(losses) == 10 and all(0.0 < loss < 100.0 for loss in losses)
    assert few_shot.URT.load(next((tmp_path / "urt").glob("*.npz"))).weights["key"].shape[0] == 2
    # The same episodes one by one.
    domain = datasets.benchmark()["signdigits"]
    labels = datasets.with_classes(domain, domain.class_names[:20]).arrays("test")[1]
    sampler = datasets.EpisodeSampler.from_protocol(
        "varying_way_varying_shot", labels, seed=0, stream="signdigits"
    )
    with np.load(tmp_path / "features" / "url-signdigits-test.npz") as file:
        features = file["features"]
    parts = list(map(sampler, range(10)))
    assert len({len(part.support_indices) for part in parts}) > 3
    episodes = [
        (
            features[part.support_indices],
            part.support_labels,
            features[part.query_indices],
            part.query_labels,
        )
        for part in parts
    ]
    rows = {row["method"]: row for row in table}
    # To rounding: a query of two equal scores may fall to either class, and the steps of alignment
    # on features of a hardly trained network make a point of a change by a millionth.
    for name, estimator, tolerance in (
        ("ncc", few_shot.NearestCentroid(), 0.3),
        ("pa_unseen", few_shot.PreClassifierAlignment("unseen"), 1.0),
        ("pa_cross_validated", few_shot.PreClassifierAlignment("cross_validated"), 1.0),
        ("scm", few_shot.SimpleCNAPS(), 0.3),
    ):
        mean, half_width = evaluation.evaluate_episodes(estimator, episodes)
        assert rows[f"url, {name}"]["signdigits"] == pytest.approx(mean, abs=tolerance)
        assert rows[f"url, {name}"]["signdigits +-"] == pytest.approx(half_width, abs=tolerance)


def test_unknown_domains_are_named_with_the_known_ones(finished, tmp_path):
    folder, _ = finished
    flags = ("--domains=birds", f"--networks_dir={folder / 'networks'}")
    message = refuser("meta_test")(tmp_path, *flags)
    assert "signdigits" in message and "birds" in message
