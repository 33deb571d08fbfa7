"""The cosine distance against its golden number and its limits."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_univrep.losses import CosineDistance
from tests.golden_inputs import golden_map, golden_x, golden_y
from tests.losses.oracles import central_differences, student_gradient, unit

X, Y = golden_x(), golden_y()


def test_value_is_the_golden_one() -> None:
    assert float(CosineDistance()(Y, X)) == pytest.approx(0.732913481, abs=1e-5)


def test_value_on_maps_is_the_mean_over_positions_in_both_layouts() -> None:
    student, teacher = (golden_map(k, (2, 3, 4, 6)) for k in (0.37, 0.53))
    expected = 1.0 - np.mean(np.sum(unit(student) * unit(teacher), axis=-1))
    assert float(CosineDistance()(teacher, student)) == pytest.approx(expected, abs=1e-5)
    first = [x.transpose(0, 3, 1, 2) for x in (teacher, student)]
    assert float(CosineDistance(axis=1)(*first)) == pytest.approx(expected, abs=1e-5)


def test_limits_are_zero_one_and_two() -> None:
    a, b = np.array([[2.0, 0.0]]), np.array([[0.0, 3.0]])
    assert float(CosineDistance()(a, 5.0 * a)) == pytest.approx(0.0, abs=1e-6)
    assert float(CosineDistance()(a, b)) == pytest.approx(1.0, abs=1e-6)
    assert float(CosineDistance()(a, -a)) == pytest.approx(2.0, abs=1e-6)


def test_zero_vector_has_loss_one_and_a_finite_gradient() -> None:
    student = np.zeros_like(X)
    assert float(CosineDistance()(Y, student)) == pytest.approx(1.0, abs=1e-6)
    assert np.isfinite(student_gradient(CosineDistance(), Y, student)).all()


def test_gradient_equals_central_differences() -> None:
    numeric = central_differences(lambda x: 1 - np.mean(np.sum(unit(x) * unit(Y), axis=1)), X)
    np.testing.assert_allclose(student_gradient(CosineDistance(), Y, X), numeric, atol=1e-5)


def test_weights_apply_per_sample() -> None:
    weights = np.linspace(0.0, 2.0, 8)
    expected = np.mean(weights * (1 - np.sum(unit(X) * unit(Y), axis=1)))
    value = CosineDistance()(Y, X, sample_weight=weights)
    assert float(value) == pytest.approx(expected, abs=1e-5)


def test_different_channels_are_refused_with_the_adapter_as_the_way_out() -> None:
    with pytest.raises(ValueError, match="student shape=.*AlignmentAdapter"):
        CosineDistance()(golden_y(8, 3), X)


def test_configuration_survives_serialization() -> None:
    loss = CosineDistance(axis=1, reduction="sum", name="mine")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(copy, CosineDistance)
    assert copy.get_config() == loss.get_config()
