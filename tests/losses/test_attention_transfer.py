"""Attention transfer against its equation and its invariances."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.losses import AttentionTransfer
from tests.golden_inputs import golden_map
from tests.losses.oracles import central_differences, student_gradient, unit

STUDENT, TEACHER = (golden_map(k, (2, 3, 4, 6)) for k in (0.37, 0.53))


def oracle(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    maps = [unit(np.sum(x**2, axis=-1).reshape(len(x), -1)) for x in (student, teacher)]
    return np.sum((maps[0] - maps[1]) ** 2, axis=1)


def test_value_equals_the_oracle_in_both_layouts() -> None:
    expected = oracle(STUDENT, TEACHER)
    value = AttentionTransfer(reduction=None)(TEACHER, STUDENT)
    np.testing.assert_allclose(ops.convert_to_numpy(value), expected, rtol=1e-5)
    first = [x.transpose(0, 3, 1, 2) for x in (TEACHER, STUDENT)]
    value = AttentionTransfer(axis=1, reduction=None)(*first)
    np.testing.assert_allclose(ops.convert_to_numpy(value), expected, rtol=1e-5)


def test_channels_of_teacher_and_student_may_differ() -> None:
    teacher = golden_map(0.53, (2, 7, 4, 6))
    expected = float(np.mean(oracle(STUDENT, teacher)))
    assert float(AttentionTransfer()(teacher, STUDENT)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 1e3])
def test_scale_signs_and_order_of_the_channels_change_nothing(scale: float) -> None:
    student = scale * STUDENT[..., [2, 0, 1]] * np.array([1.0, -1.0, -1.0])
    expected = float(np.mean(oracle(STUDENT, TEACHER)))
    assert float(AttentionTransfer()(TEACHER, student)) == pytest.approx(expected, abs=1e-5)


def test_equal_maps_have_no_loss() -> None:
    assert float(AttentionTransfer()(TEACHER, -2.0 * TEACHER)) == pytest.approx(0.0, abs=1e-6)


def test_disjoint_attention_has_the_largest_loss() -> None:
    teacher, student = np.zeros((2, 1, 2, 2, 3))
    teacher[0, 0, 0], student[0, 1, 1] = 0.5, -3.0
    assert float(AttentionTransfer()(teacher, student)) == pytest.approx(2.0, abs=1e-5)


def test_gradient_equals_central_differences() -> None:
    student, teacher = STUDENT[:1, :2, :3], TEACHER[:1, :2, :3]
    numeric = central_differences(lambda x: float(np.mean(oracle(x, teacher))), student)
    gradient = student_gradient(AttentionTransfer(), teacher, student)
    np.testing.assert_allclose(gradient, numeric, atol=1e-5)


def test_gradient_is_finite_for_zero_maps_and_zero_at_equality() -> None:
    zeros = np.zeros_like(STUDENT)
    assert np.isfinite(student_gradient(AttentionTransfer(), TEACHER, zeros)).all()
    at_equality = student_gradient(AttentionTransfer(), TEACHER, TEACHER)
    np.testing.assert_allclose(at_equality, 0.0, atol=1e-6)


def test_maps_of_different_size_are_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match="keras.ops.image.resize"):
        AttentionTransfer()(TEACHER[:, :2], STUDENT)


def test_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(batch, height, width, channels\). Received"):
        AttentionTransfer()(TEACHER[:, 0, 0], STUDENT[:, 0, 0])


def test_configuration_survives_serialization() -> None:
    loss = AttentionTransfer(axis=1, reduction="sum", name="mine")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(copy, AttentionTransfer)
    assert copy.get_config() == loss.get_config()
