"""Normalisation with batch or given moments equals the formula, with its gradients."""

from __future__ import annotations

import numpy as np
from keras import ops

from keras_univrep import backend
from tests import oracles


def arrays() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    return rng.normal(2.0, 3.0, (4, 5, 6, 3)), rng.normal(size=3), rng.normal(size=3)


def test_moments_of_the_batch_are_biased():
    x, gamma, beta = arrays()
    outputs, mean, variance = backend.batch_normalization(
        x.astype("float32"), gamma.astype("float32"), beta.astype("float32"), 1e-5
    )
    right = oracles.normalization(x, gamma, beta)
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), right, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ops.convert_to_numpy(mean), x.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(variance), x.var((0, 1, 2)), rtol=1e-4)


def test_given_moments_are_used():
    x, gamma, beta = arrays()
    moments = np.array([1.0, -1.0, 0.5]), np.array([0.5, 2.0, 9.0])
    outputs, *_ = backend.batch_normalization(
        x.astype("float32"),
        gamma.astype("float32"),
        beta.astype("float32"),
        1e-3,
        tuple(moment.astype("float32") for moment in moments),
    )
    right = oracles.normalization(x, gamma, beta, moments, 1e-3)
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), right, rtol=1e-4, atol=1e-4)


def test_any_number_of_axes():
    x, gamma, beta = arrays()
    for shape in [(120, 3), (8, 15, 3), (2, 2, 5, 6, 3)]:
        outputs, *_ = backend.batch_normalization(
            x.reshape(shape).astype("float32"), gamma, beta, 1e-5
        )
        right = oracles.normalization(x.reshape(shape), gamma, beta)
        np.testing.assert_allclose(ops.convert_to_numpy(outputs), right, rtol=1e-4, atol=1e-4)


def test_gradient_flows_through_the_moments():
    x, gamma, beta = arrays()
    cotangent = np.random.default_rng(1).normal(size=x.shape)
    weights = ops.convert_to_tensor(cotangent.astype("float32"))
    _, grads = backend.value_and_grad(
        lambda v: (ops.sum(backend.batch_normalization(*v, 1e-5)[0] * weights), None),
        [array.astype("float32") for array in (x, gamma, beta)],
    )

    def loss() -> float:
        return float(np.sum(cotangent * oracles.normalization(x, gamma, beta)))

    for array, grad in zip((x, gamma, beta), grads, strict=True):
        grad = ops.convert_to_numpy(grad)
        for index in (0, array.size - 1):
            before = array.flat[index]
            sums = []
            for sign in (1, -1):
                array.flat[index] = before + sign * 1e-5
                sums.append(loss())
            array.flat[index] = before
            difference = (sums[0] - sums[1]) / 2e-5
            np.testing.assert_allclose(grad.flat[index], difference, rtol=2e-3, atol=1e-3)
