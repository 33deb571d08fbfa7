import keras
import numpy as np
import pytest

from keras_univrep.backbones import ResNet26
from keras_univrep.models import MultiDomainModel

CLASSES = {"photo": 4, "sketch": 3}


def trained(num_classes, **architecture):
    """A model whose statistics are no longer those of a fresh one."""
    model = MultiDomainModel(ResNet26(width=0.125, **architecture), num_classes)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "seed" not in weight.path:
            weight.assign(np.abs(rng.normal(0.1, 0.05, weight.shape)) + 0.01)
    return model


def logits(model, domain):
    x = np.random.default_rng(1).normal(size=(2, 16, 16, 3)).astype("float32")
    return keras.ops.convert_to_numpy(model(x, domain=domain))


def features(model, domain):
    x = np.random.default_rng(1).normal(size=(2, 16, 16, 3)).astype("float32")
    return keras.ops.convert_to_numpy(model.features(x, domain=domain))


@pytest.mark.parametrize("adapter", [None, "parallel", "series"])
def test_a_new_network_starts_with_the_trunks_features_in_every_domain(adapter):
    trunk = trained({"photo": 4})
    names = list(CLASSES) if adapter else None
    model = MultiDomainModel(ResNet26(width=0.125, adapter=adapter, domains=names), CLASSES)
    model.initialize_from(trunk)
    for name in CLASSES:
        np.testing.assert_allclose(features(model, name), features(trunk, "photo"), rtol=1e-5)
    np.testing.assert_allclose(logits(model, "photo"), logits(trunk, "photo"), rtol=1e-5)


def test_a_normalisation_of_a_domain_goes_to_the_domain_of_that_name():
    names = list(CLASSES)
    source = trained(CLASSES, domains=names, normalization="domain")
    model = MultiDomainModel(
        ResNet26(width=0.125, domains=names[::-1], normalization="domain"), CLASSES
    )
    model.initialize_from(source)
    for name in names:
        np.testing.assert_array_equal(logits(model, name), logits(source, name))
    assert not np.allclose(features(model, "photo"), features(model, "sketch"))


def test_another_width_is_refused_and_nothing_is_copied():
    model = MultiDomainModel(ResNet26(width=0.25), {"photo": 4})
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]
    with pytest.raises(ValueError, match="width"):
        model.initialize_from(trained({"photo": 4}))
    for old, new in zip(before, model.weights):
        np.testing.assert_array_equal(old, keras.ops.convert_to_numpy(new))


def test_other_classes_of_a_shared_domain_are_refused():
    model = MultiDomainModel(ResNet26(width=0.125), {"photo": 5})
    with pytest.raises(ValueError, match="same classes"):
        model.initialize_from(trained({"photo": 4}))


def test_training_the_new_network_leaves_the_trunk_as_it_was():
    trunk = trained({"photo": 4})
    before = logits(trunk, "photo")
    model = MultiDomainModel(ResNet26(width=0.125), {"photo": 4})
    model.initialize_from(trunk)
    model.compile("sgd")
    x = np.random.default_rng(1).normal(size=(4, 16, 16, 3)).astype("float32")
    model.fit({"photo": x}, {"photo": np.arange(4)}, verbose=0)
    np.testing.assert_array_equal(logits(trunk, "photo"), before)
