import json

import keras
import numpy as np
import pytest

from keras_univrep.models import MultiDomainModel
from tests.recipes.runner import refuser, runner

DOMAINS = ["omniglot", "quickdraw", "signdigits"]

run = runner("train_url")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smoke")
    return folder, run(folder, "--width=0.125", must_succeed=True)


def test_smoke_leaves_networks_that_load_and_a_table(finished):
    folder, process = finished
    networks = json.loads((folder / "networks.json").read_text())
    kinds = {name: entry["kind"] for name, entry in networks.items()}
    assert kinds == {**{f"sdl_{name}": "sdl" for name in DOMAINS}, "mdl": "mdl", "url": "url"}
    for name, entry in networks.items():
        network = keras.saving.load_model(folder / entry["file"], compile=False)
        assert isinstance(network, MultiDomainModel) and network.num_classes == entry["domains"]
        assert network.backbone.width == entry["backbone"]["width"] == 0.125
        assert name.startswith("sdl_") or list(entry["domains"]) == DOMAINS
    images = np.zeros((2, 32, 32, 3), "float32")
    assert tuple(network.features(images, domain="quickdraw", training=False).shape) == (2, 32)
    table = json.loads((folder / "results.json").read_text())["table"]
    assert [row["method"] for row in table] == ["SDL", "mdl", "url"]
    assert all(row["method"] in process.stdout and set(DOMAINS) < set(row) for row in table)


@pytest.mark.slow
def test_only_adds_a_hierarchical_network_from_cached_teachers(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.keras")}
    flags = ("--width=0.125", "--name=deep", "--groups=1", "--cache_views=2", "--annealing=domain")
    run(folder, *flags, "--only=deep_group1,deep", "--feature_loss=cosine", must_succeed=True)
    networks = json.loads((folder / "networks.json").read_text())
    assert networks["deep_group1"]["kind"] == "group" and networks["deep"]["kind"] == "url"
    assert set(networks["deep_group1"]["domains"]) == {"quickdraw", "signdigits"}
    assert networks["deep"]["feature_loss"] == "cosine"
    # Teachers answered to two views of each image, the group network in its two domains.
    caches = {path.parent.name for path in folder.glob("caches/*/logits.npy")}
    assert {"deep_group1_quickdraw", "sdl_omniglot_omniglot"} <= {
        name.rsplit("_", 1)[0] for name in caches
    }
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("groups", "message"), [("group 1", "divides the domains"), ("group", "must be a number")]
)
def test_groups_of_other_domains_and_no_groups_are_refused(groups, message, tmp_path):
    found = refuser("train_url")(tmp_path, f"--groups={groups}")
    assert message in found and "JSON" in found


def test_other_settings_and_missing_teachers_are_refused(finished, tmp_path):
    folder, _ = finished
    flags = ("--width=0.125", "--only=url", "--feature_loss=none")
    assert "Choose another folder" in refuser("train_url", ValueError)(folder, *flags)
    assert "must be trained first" in refuser("train_url")(tmp_path, "--only=url")
