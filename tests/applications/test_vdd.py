"""The weights "vdd" and "vdd-url": the local decathlon's domains, in one line."""

import os
import pathlib

import keras
import numpy as np
import pytest

from keras_univrep import datasets, evaluation
from keras_univrep.applications import UniversalResNet26, decode_predictions, find_entry
from keras_univrep.applications.preprocess_input import preprocess_input

ENTRY = find_entry("vdd")


def test_one_line_gives_a_network_that_predicts_by_name():
    model = UniversalResNet26(weights="vdd")
    assert set(model.domains) == set(ENTRY.domains) and len(model.domains) == 8
    size = ENTRY.domain("gtsrb").input_size
    images = np.random.default_rng(0).integers(0, 256, (2, *size, 3), "uint8")
    x = preprocess_input(images, "vdd", "gtsrb")
    found = decode_predictions(model(x, domain="gtsrb"), "vdd", "gtsrb", top=3)
    assert len(found) == 2 and all(len(best) == 3 for best in found)
    assert all(name in ENTRY.domain("gtsrb").class_names for _, name, _ in found[0])
    assert model.count_params() == ENTRY.parameters
    assert not model.backbone.trunk.trainable_variables
    assert {weight.dtype for weight in model.backbone.weights if len(weight.shape) > 1} == {
        keras.config.floatx()
    }


@pytest.mark.slow
def test_other_domains_can_be_left_out_and_added():
    model = UniversalResNet26("vdd", domains=["dtd10"])
    model.add_domain("own", 3)
    x = np.ones((1, *ENTRY.domain("dtd10").input_size, 3), "float32")
    assert tuple(model(x, domain="own").shape) == (1, 3)
    assert tuple(model(x, domain="dtd10").shape) == (1, 10)


def test_the_distilled_network_is_one_network_of_nine_domains():
    entry, model = find_entry("vdd-url"), UniversalResNet26(weights="vdd-url")
    assert len(model.domains) == 9 and set(ENTRY.domains) < set(model.domains)
    # Nothing but classifiers belongs to a domain.
    heads = sum((model.backbone.filters + 1) * count for count in model.num_classes.values())
    assert model.count_params() == model.backbone.count_params() + heads == entry.parameters
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), "uint8")
    x = preprocess_input(images, "vdd-url", "dtd10")
    found = decode_predictions(model(x, domain="dtd10"), "vdd-url", "dtd10", top=3)
    assert all(name in ENTRY.domain("dtd10").class_names for _, name, _ in found[0])


@pytest.mark.parametrize("weights", ["vdd", "vdd-url"])
def test_the_card_says_what_the_registry_says(weights):
    cards = pathlib.Path(__file__).parents[2] / "docs" / "model_cards"
    text, entry = (cards / f"{weights.replace('-', '_')}.md").read_text(), find_entry(weights)
    assert entry.sha256 in text and "research use" in text and entry.licence.startswith("research")
    for name, score in entry.measured.items():
        assert f"| {name} | {score:.1f} |" in text


@pytest.mark.slow
@pytest.mark.skipif("KERAS_UNIVREP_DATA" not in os.environ, reason="needs decathlon_local's sets")
@pytest.mark.parametrize("weights", ["vdd", "vdd-url"])
def test_it_scores_what_the_registry_says_on_held_out_images(weights):
    names, entry = ["gtsrb", "dtd10", "flowers17", "ucf101_subset"], find_entry(weights)
    domains = datasets.decathlon_local(size=entry.domain("gtsrb").input_size[0], names=names)
    model = UniversalResNet26(weights, domains=names)
    found = evaluation.domain_accuracy(model, domains, "test")
    assert found == pytest.approx({name: entry.measured[name] for name in names}, abs=0.6)
