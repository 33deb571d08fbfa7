"""`ProbabilisticAttentionModulator` against float64, and its samples against their moments."""

import keras
import numpy as np
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import ProbabilisticAttentionModulator
from tests import harness
from tests.layers.attention_oracle import pooled

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, 5, 3)), RNG.normal(size=(2, 5, 2))


def make() -> ProbabilisticAttentionModulator:
    layer = ProbabilisticAttentionModulator(
        6, units=4, labels="vector", label_size=2, seed=0, name="modulator"
    )
    layer.build(X.shape)
    return layer


def test_mean_and_variance_are_those_of_float64() -> None:
    layer = make()
    harness.randomize(layer)
    weights = harness.weights_of(layer)
    found = layer(X.astype("float32"), Y.astype("float32"))
    h = pooled(X, Y, weights, np.ones((2, 5), bool))
    for value, name, start in zip(found, ("mean", "log_variance"), (0.0, -4.0), strict=True):
        kernel, bias = (weights[f"attention/{name}/{part}"] for part in ("kernel", "bias"))
        wanted = h @ kernel + bias + start
        np.testing.assert_allclose(ops.convert_to_numpy(value), wanted, rtol=1e-4, atol=1e-5)
    harness.check_config(layer)


def test_samples_have_the_moments_and_gradients_of_the_gaussian() -> None:
    layer = make()
    mean, log_variance = np.full((1, 40_000), 0.3, "float32"), np.full((1, 1), -2.0, "float32")
    samples = np.arctanh(ops.convert_to_numpy(layer.sample(mean, log_variance)).astype("float64"))
    np.testing.assert_allclose(samples.mean(), 0.3, atol=0.01)
    np.testing.assert_allclose(samples.var(), np.exp(-2.0), rtol=0.05)
    other = ops.convert_to_numpy(layer.sample(mean, log_variance))
    assert not np.array_equal(np.tanh(samples.astype("float32")), other)
    at_mean = layer.sample(ops.convert_to_tensor(mean))
    np.testing.assert_allclose(ops.convert_to_numpy(at_mean), np.tanh(0.3), rtol=1e-5)
    point = [keras.Variable(np.zeros((1, 1), "float32")), keras.Variable(log_variance)]
    _, _, grads = backend.gradients(
        lambda: (ops.sum(layer.sample(point[0].value + 0.0, point[1].value + 0.0)), ()), point
    )
    assert all(np.abs(ops.convert_to_numpy(grad)).max() > 0 for grad in grads)
