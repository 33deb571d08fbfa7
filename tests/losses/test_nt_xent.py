"""The contrastive loss against NumPy, and what it does not depend on."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.losses import NTXent

RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.normal(size=(2, 5, 3))


def expected(first: np.ndarray, second: np.ndarray, temperature: float) -> np.ndarray:
    """The loss of each image, view by view."""
    z = np.concatenate([first, second]).astype("float64")
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    count, values = len(first), []
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        terms = [np.exp(z[i] @ z[k] / temperature) for k in range(2 * count) if k != i]
        values.append(-np.log(np.exp(z[i] @ z[j] / temperature) / sum(terms)))
    return (np.array(values[:count]) + values[count:]) / 2


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_value_is_that_of_the_formula(temperature: float) -> None:
    right = expected(FIRST, SECOND, temperature)
    values = NTXent(temperature, reduction=None)(FIRST, SECOND)
    np.testing.assert_allclose(ops.convert_to_numpy(values), right, rtol=1e-4, atol=1e-5)
    assert float(NTXent(temperature)(FIRST, SECOND)) == pytest.approx(right.mean(), rel=1e-4)


def test_scale_of_a_projection_and_order_of_the_views_do_not_matter() -> None:
    value = float(NTXent()(FIRST, SECOND))
    assert float(NTXent()(SECOND, FIRST * [[7.0]])) == pytest.approx(value, rel=1e-4)


def test_views_that_are_alike_and_unlike_all_others_have_no_loss() -> None:
    assert float(NTXent(0.05)(np.eye(3), 2.0 * np.eye(3))) == pytest.approx(0.0, abs=1e-6)


def test_gradient_is_that_of_the_formula() -> None:
    loss = NTXent(0.5)
    values = [ops.convert_to_tensor(v.astype("float32")) for v in (FIRST, SECOND)]
    _, grads = backend.value_and_grad(lambda v: (loss(v[0], v[1]), ()), values)
    for side in range(2):
        for index in ((0, 0), (4, 2)):
            moved = []
            for sign in (1, -1):
                views = [FIRST.copy(), SECOND.copy()]
                views[side][index] += sign * 1e-5
                moved.append(expected(*views, 0.5).mean())
            slope = (moved[0] - moved[1]) / 2e-5
            found = ops.convert_to_numpy(grads[side])[index]
            assert found == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_projection_of_zeros_has_a_finite_gradient() -> None:
    values = [ops.zeros((2, 3)), ops.ones((2, 3))]
    (value, _), grads = backend.value_and_grad(lambda v: (NTXent()(v[0], v[1]), ()), values)
    assert np.isfinite(float(value))
    assert all(np.all(np.isfinite(ops.convert_to_numpy(grad))) for grad in grads)


def test_configuration_holds_every_argument() -> None:
    loss = NTXent(0.3, reduction="sum", dtype="float64")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.get_config() == loss.get_config() and copy.temperature == 0.3


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature=0"):
        NTXent(0)
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(5, 2\)"):
        NTXent()(FIRST, SECOND[:, :2])
    with pytest.raises(ValueError, match="Received"):
        NTXent()(FIRST, SECOND[:4])
