"""`endless_batches` gives the pipeline's batches, with TensorFlow and without."""

import itertools
import sys

import numpy as np
import pytest

from keras_univrep.datasets import endless_batches, load_domain, multi_domain_pipeline

DOMAINS = ["eurosat", "signdigits"]
SIZES = {"eurosat": 6, "signdigits": 3}


@pytest.mark.parametrize("first_step", [0, 7])
def test_batches_without_tensorflow_are_those_of_the_pipeline(first_step, monkeypatch):
    domains = [load_domain(name) for name in DOMAINS]
    arguments = (domains, "train", SIZES)
    pipeline = multi_domain_pipeline(*arguments, True, seed=5, first_step=first_step)
    expected = list(itertools.islice(pipeline.as_numpy_iterator(), 3))
    same = endless_batches(*arguments, seed=5, first_step=first_step)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    found = endless_batches(*arguments, seed=5, first_step=first_step)
    monkeypatch.undo()
    for other in (found, same):
        for (x, y), (images, labels) in zip(itertools.islice(other, 3), expected, strict=True):
            assert list(x) == list(y) == DOMAINS
            for name in DOMAINS:
                np.testing.assert_array_equal(x[name], images[name])
                np.testing.assert_array_equal(y[name], labels[name])


def test_wrong_arguments_are_refused_without_tensorflow_too(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(TypeError, match="elements of type"):
        endless_batches([1], "train", 8)
    with pytest.raises(ValueError, match="batch_size"):
        endless_batches([load_domain("eurosat")], "train", 0)
