"""The distillation divergence against golden numbers and its limits."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.losses import KLDistillation
from tests.golden_inputs import golden_x, golden_y
from tests.losses.oracles import central_differences, kl, student_gradient

STUDENT, TEACHER = 3.0 * golden_x(4, 6), 3.0 * golden_y(4, 6)


@pytest.mark.parametrize(
    ("temperature", "golden"), [(1, 1.521827953), (4, 1.726202389), (8.0, 1.628500315)]
)
def test_value_is_the_golden_one(temperature: float, golden: float) -> None:
    value = KLDistillation(temperature=temperature)(TEACHER, STUDENT)
    assert float(value) == pytest.approx(golden, abs=1e-5)
    assert np.mean(kl(STUDENT, TEACHER, temperature)) == pytest.approx(golden, abs=1e-6)


def test_equal_predictions_have_no_loss_and_logits_may_be_shifted() -> None:
    assert float(KLDistillation(4.0)(TEACHER, TEACHER + 5.0)) == pytest.approx(0.0, abs=1e-5)


def test_high_temperature_is_half_the_squared_distance_of_centred_logits() -> None:
    # Second order expansion of the divergence: T^2 KL -> var over classes of the difference / 2.
    expected = float(np.mean(np.var(STUDENT - TEACHER, axis=1))) / 2.0
    assert float(KLDistillation(100.0)(TEACHER, STUDENT)) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_gradient_equals_central_differences(temperature: float) -> None:
    numeric = central_differences(lambda x: float(np.mean(kl(x, TEACHER, temperature))), STUDENT)
    gradient = student_gradient(KLDistillation(temperature), TEACHER, STUDENT)
    np.testing.assert_allclose(gradient, numeric, atol=2e-5)


def test_large_logits_stay_finite() -> None:
    loss = KLDistillation()
    teacher, student = np.array([[1e4, 0.0, -1e4]]), np.array([[0.0, 1e4, -1e4]])
    assert float(loss(teacher, student)) == pytest.approx(1e4, rel=1e-5)
    assert np.isfinite(student_gradient(loss, teacher, student)).all()


def test_low_precision_logits_are_compared_in_float32() -> None:
    value = KLDistillation(4.0, dtype="float16").call(
        ops.cast(TEACHER, "float16"), ops.cast(STUDENT, "float16")
    )
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(value), kl(STUDENT, TEACHER, 4.0), atol=5e-3)


def test_dense_logits_average_over_positions() -> None:
    teacher, student = (x.reshape(2, 2, 1, 6) for x in (TEACHER, STUDENT))
    expected = kl(STUDENT, TEACHER, 1.0).reshape(2, 2).mean(axis=1)
    value = KLDistillation(reduction=None)(teacher, student)
    np.testing.assert_allclose(ops.convert_to_numpy(value), expected, rtol=1e-5)


def test_weights_apply_per_sample() -> None:
    weights = np.array([0.0, 1.0, 2.0, 0.5])
    expected = np.mean(weights * kl(STUDENT, TEACHER, 2.0))
    value = KLDistillation(2.0)(TEACHER, STUDENT, sample_weight=weights)
    assert float(value) == pytest.approx(expected, abs=1e-5)


def test_different_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="logits of the same shape. Received"):
        KLDistillation()(TEACHER[:, :5], STUDENT)
    with pytest.raises(ValueError, match="logits of the same shape. Received"):
        KLDistillation()(TEACHER[:, None], STUDENT)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        KLDistillation(temperature)


@pytest.mark.parametrize("temperature", ["4", None, True])
def test_temperature_must_be_a_number(temperature: object) -> None:
    with pytest.raises(TypeError, match="`temperature` must be a number"):
        KLDistillation(temperature)  # type: ignore[arg-type]


def test_configuration_survives_serialization() -> None:
    loss = KLDistillation(temperature=8.0, reduction="sum", name="mine")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(copy, KLDistillation)
    assert copy.get_config() == loss.get_config()


def test_student_learns_the_teacher_in_a_compiled_fit() -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(30, 6)).astype("float32")
    teacher = inputs @ rng.normal(size=(6, 4)).astype("float32")
    student = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    student.compile(keras.optimizers.Adam(0.1), loss=KLDistillation(4.0))
    history = student.fit(inputs, teacher, batch_size=8, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.3 * history[0]
