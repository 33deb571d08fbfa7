import keras
import numpy as np
import pytest

from keras_univrep import datasets, evaluation
from keras_univrep.backbones import ResNet26
from keras_univrep.models import MultiDomainModel


@pytest.fixture
def domain():
    images, labels = datasets.load_domain("eurosat").arrays("test")
    part = (images[:30], labels[:30])
    return datasets.domain_from_arrays("eurosat", train=part, test=part)


@pytest.fixture
def model(domain):
    keras.utils.set_random_seed(0)
    return MultiDomainModel(ResNet26(width=0.125), {"eurosat": domain.num_classes})


def test_accuracy_is_the_share_of_right_answers_however_batches_are_split(model, domain):
    images, labels = domain.arrays("test")
    logits = keras.ops.convert_to_numpy(model(domain.normalize(images), domain="eurosat"))
    expected = 100 * np.mean(logits.argmax(1) == labels)
    for batch_size in (7, 30, 256):
        found = evaluation.domain_accuracy(model, {"eurosat": domain}, "test", batch_size)
        assert found == {"eurosat": pytest.approx(expected)}


def test_a_head_that_always_answers_one_class_scores_its_share(model, domain):
    labels = domain.arrays("test")[1]
    head = model.head("eurosat")
    head.set_weights([np.zeros(head.kernel.shape), np.eye(domain.num_classes)[labels[0]]])
    found = evaluation.domain_accuracy(model, {"eurosat": domain}, "test")["eurosat"]
    assert found == pytest.approx(100 * np.mean(labels == labels[0]))


def test_an_unknown_split_is_an_error_that_lists_the_known_ones(model, domain):
    with pytest.raises(ValueError, match="train"):
        evaluation.domain_accuracy(model, {"eurosat": domain}, "holdout")
