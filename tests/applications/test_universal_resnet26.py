import keras
import numpy as np
import pytest

from keras_univrep import datasets, evaluation
from keras_univrep.applications import UniversalResNet26, list_weights, save_weights

EMBEDDED = sorted(name for name in list_weights() if name.startswith("five_domains"))


@pytest.mark.parametrize("name", EMBEDDED)
def test_shipped_weights_still_score_what_the_registry_says(name):
    model = UniversalResNet26(weights=name)
    measured = list_weights()[name].measured
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


def test_some_domains_of_named_weights_answer_as_all_do():
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    every = UniversalResNet26("demo")
    some = UniversalResNet26("demo", domains=["quickdraw", "eurosat"])
    assert set(some.domains) == {"quickdraw", "eurosat"}
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(every(x, domain="quickdraw")),
        keras.ops.convert_to_numpy(some(x, domain="quickdraw")),
    )
    backbone = UniversalResNet26("demo", include_top=False)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(every.features(x, domain="eurosat")),
        keras.ops.convert_to_numpy(backbone(x)),
    )


@pytest.mark.parametrize(
    "arguments", [{"domains": ["birds"]}, {"domains": {"eurosat": 9}}, {"classes": 10}]
)
def test_named_weights_refuse_domains_of_others(arguments):
    with pytest.raises(ValueError, match="own domains and classes"):
        UniversalResNet26("demo", **arguments)


def test_domains_over_a_frozen_trunk_come_and_go():
    model = UniversalResNet26(
        None, {"photo": 4}, width=0.125, adapter="parallel", frozen_trunk=True
    )
    model.add_domain("sketch", 3)
    assert model.domains == ("photo", "sketch")
    assert not model.backbone.trunk.trainable_variables


def test_a_file_of_another_architecture_is_refused(tmp_path):
    path = save_weights(UniversalResNet26(None, classes=2, width=0.125), tmp_path / "a.weights.h5")
    with pytest.raises(ValueError, match="arguments that the network was made with"):
        UniversalResNet26(path, classes=2, width=0.25)
    with pytest.raises(FileNotFoundError, match="no file"):
        UniversalResNet26(tmp_path / "b.weights.h5", classes=2)


def test_sizes_that_the_network_cannot_take_are_refused():
    with pytest.raises(ValueError, match="multiples of 8"):
        UniversalResNet26(None, classes=2, input_shape=(30, 30, 3))
    grey = UniversalResNet26(None, classes=2, input_shape=(32, 32, 1), width=0.125)
    assert grey.backbone.channels == 1


@pytest.mark.parametrize("shape", [(30, 30, 3), (32, 36, 3), (32, 32), (0, 32, 3)])
def test_named_weights_check_the_shape_of_the_images_too(shape):
    with pytest.raises(ValueError, match="sizes multiples of 8"):
        UniversalResNet26("demo", input_shape=shape)


def test_named_weights_take_other_sizes_that_are_multiples_of_8():
    model = UniversalResNet26("demo", domains="eurosat", input_shape=(40, None, 3))
    assert model.domains == ("eurosat",)
    with pytest.raises(ValueError, match="images of 3 channels"):
        UniversalResNet26("demo", input_shape=(32, 32, 1))
