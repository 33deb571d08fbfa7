import keras
import numpy as np

from keras_univrep import datasets, evaluation
from keras_univrep.backbones import ResNet26
from keras_univrep.evaluation.domain_batches import spread
from keras_univrep.models import MultiDomainModel


def test_features_are_those_of_the_model_in_order():
    images, labels = datasets.load_domain("eurosat").arrays("test")
    part = (images[:20], labels[:20])
    domain = datasets.domain_from_arrays("eurosat", train=part, test=part)
    model = MultiDomainModel(ResNet26(width=0.125), {"eurosat": domain.num_classes})
    expected = model.features(domain.normalize(part[0]), domain="eurosat", training=False)
    found = evaluation.domain_features(model, domain, "test", batch_size=7)
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(expected), rtol=1e-5, atol=1e-5)
    few = evaluation.domain_features(model, domain, "test", limit=4)
    np.testing.assert_allclose(few, found[spread(20, 4)], atol=1e-5)


def test_spread_takes_first_and_last_and_nothing_twice():
    assert spread(10, 4).tolist() == [0, 3, 6, 9]
    assert spread(3, 8).tolist() == [0, 1, 2]
