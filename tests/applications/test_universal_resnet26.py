import shutil

import keras
import numpy as np
import pytest

from keras_univrep import datasets, evaluation
from keras_univrep.applications import UniversalResNet26, list_weights, weights_registry


@pytest.mark.parametrize("name", sorted(list_weights()))
def test_shipped_weights_still_score_what_the_registry_says(name):
    model = UniversalResNet26(weights=name)
    measured = list_weights()[name]["measured"]
    domains = {key: datasets.load_domain(key) for key in measured if key != "omniglot"}
    if not domains:
        domains = {"omniglot": datasets.load_domain("omniglot")}
    found = evaluation.domain_accuracy(model, domains, "test")
    # One image of the smallest split may fall on the other side on another backend.
    assert found == pytest.approx({key: measured[key] for key in domains}, abs=0.4)


def test_random_weights_need_the_domains():
    with pytest.raises(ValueError, match="number of classes"):
        UniversalResNet26(weights=None)


def test_an_unknown_name_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="five_domains"):
        UniversalResNet26(weights="imagenet")


def test_named_weights_refuse_another_architecture():
    with pytest.raises(ValueError, match="own architecture"):
        UniversalResNet26(weights="five_domains", width=0.5)


def test_an_altered_file_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    shutil.copytree(weights_registry.FOLDER, folder)
    path = folder / list_weights()["five_domains"]["file"]
    path.write_bytes(path.read_bytes()[:-1])
    monkeypatch.setattr(weights_registry, "FOLDER", folder)
    with pytest.raises(ValueError, match="SHA-256"):
        UniversalResNet26(weights="five_domains")


def test_weights_from_a_path_give_the_same_predictions(tmp_path):
    domains = {"photo": 4, "sketch": 3}
    first = UniversalResNet26(None, domains, width=0.125, adapter="parallel")
    first.save_weights(tmp_path / "own.weights.h5")
    second = UniversalResNet26(
        tmp_path / "own.weights.h5", domains, width=0.125, adapter="parallel"
    )
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    for name in domains:
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(first(x, domain=name)),
            keras.ops.convert_to_numpy(second(x, domain=name)),
        )
