"""The normalised L2 loss against golden numbers, its equation and its limits."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.losses import CosineDistance, NormalizedL2
from tests.golden_inputs import golden_map, golden_x, golden_y
from tests.losses.oracles import central_differences, student_gradient, unit

X, Y = golden_x(), golden_y()
STUDENT, TEACHER = (golden_map(k, (2, 3, 4, 6)) for k in (0.37, 0.53))


def test_plain_squared_distance_is_the_golden_one() -> None:
    assert float(NormalizedL2(normalize=False)(Y, X)) == pytest.approx(3.641053791, abs=1e-5)


def test_value_on_maps_is_the_golden_one() -> None:
    assert float(NormalizedL2()(TEACHER, STUDENT)) == pytest.approx(1.949394128, abs=1e-5)


def test_channels_first_gives_the_same_value() -> None:
    teacher, student = (x.transpose(0, 3, 1, 2) for x in (TEACHER, STUDENT))
    loss = NormalizedL2(axis=1)
    assert float(loss(teacher, student)) == pytest.approx(1.949394128, abs=1e-5)


def test_sum_over_positions_is_the_equation() -> None:
    expected = np.sum((unit(STUDENT) - unit(TEACHER)) ** 2, axis=(1, 2, 3))
    value = NormalizedL2(positions="sum", reduction=None)(TEACHER, STUDENT)
    np.testing.assert_allclose(ops.convert_to_numpy(value), expected, rtol=1e-5)


def test_sum_over_positions_of_vectors_is_the_vectors_own_distance() -> None:
    expected = np.sum((unit(X) - unit(Y)) ** 2, axis=1)
    value = NormalizedL2(positions="sum", reduction=None)(Y, X)
    np.testing.assert_allclose(ops.convert_to_numpy(value), expected, rtol=1e-5, atol=1e-6)


def test_mean_per_sample_is_weighed_by_sample() -> None:
    weights = np.array([1.0, 0.25])
    per_sample = np.mean(np.sum((unit(STUDENT) - unit(TEACHER)) ** 2, axis=-1), axis=(1, 2))
    value = NormalizedL2()(TEACHER, STUDENT, sample_weight=weights)
    assert float(value) == pytest.approx(np.mean(weights * per_sample), abs=1e-5)


def test_equal_directions_have_no_loss() -> None:
    scale = np.linspace(0.5, 20.0, 24).reshape(4, 6, 1)
    assert float(NormalizedL2()(scale * TEACHER, TEACHER)) == pytest.approx(0.0, abs=1e-6)


def test_opposite_directions_have_the_largest_loss() -> None:
    assert float(NormalizedL2()(TEACHER, -TEACHER)) == pytest.approx(4.0, abs=1e-5)


def test_loss_is_twice_the_cosine_distance() -> None:
    expected = 2.0 * float(CosineDistance()(TEACHER, STUDENT))
    assert float(NormalizedL2()(TEACHER, STUDENT)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("normalize", [True, False])
def test_gradient_equals_central_differences(normalize: bool) -> None:
    def oracle(x: np.ndarray) -> float:
        a, b = (unit(x), unit(Y)) if normalize else (x, Y)
        return float(np.mean(np.sum((a - b) ** 2, axis=1)))

    gradient = student_gradient(NormalizedL2(normalize=normalize), Y, X)
    np.testing.assert_allclose(gradient, central_differences(oracle, X), atol=1e-5)


def test_zero_vector_has_a_finite_gradient() -> None:
    student = X.copy()
    student[0] = 0.0
    assert np.isfinite(student_gradient(NormalizedL2(), Y, student)).all()


def test_low_precision_features_are_compared_in_float32() -> None:
    student, teacher = ops.cast(300.0 * X, "float16"), ops.cast(300.0 * Y, "float16")
    value = NormalizedL2(dtype="float16").call(teacher, student)
    expected = np.sum((unit(X) - unit(Y)) ** 2, axis=1)
    np.testing.assert_allclose(ops.convert_to_numpy(value), expected, atol=5e-3)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"


def test_different_channels_are_refused_with_the_adapter_as_the_way_out() -> None:
    with pytest.raises(ValueError, match="teacher shape=.*AlignmentAdapter"):
        NormalizedL2()(golden_y(8, 3), X)


def test_different_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match="same shape. Received"):
        NormalizedL2()(TEACHER, X)


def test_features_without_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(batch, ..., channels\). Received: shape=\(8,\)"):
        NormalizedL2()(X[:, 0], Y[:, 0])


def test_unknown_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="positions='max'"):
        NormalizedL2(positions="max")


def test_batch_axis_as_channels_is_refused() -> None:
    with pytest.raises(ValueError, match="axis=0"):
        NormalizedL2(axis=0)
    with pytest.raises(ValueError, match="axis=-2 for features of rank 2"):
        NormalizedL2(axis=-2)(Y, X)
    with pytest.raises(TypeError, match="axis=1.0"):
        NormalizedL2(axis=1.0)  # type: ignore[arg-type]


def test_configuration_survives_serialization() -> None:
    loss = NormalizedL2(normalize=False, positions="sum", axis=1, reduction="sum", name="mine")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(copy, NormalizedL2)
    assert copy.get_config() == loss.get_config()


def test_student_learns_the_teacher_in_a_compiled_fit() -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(20, 4, 4, 3)).astype("float32")
    teacher = inputs @ rng.normal(size=(3, 5)).astype("float32")
    student = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(5, 1)])
    student.compile(keras.optimizers.Adam(0.05), loss=NormalizedL2())
    weights = np.ones(20, "float32")
    history = student.fit(
        inputs, teacher, sample_weight=weights, batch_size=8, epochs=10, verbose=0
    ).history["loss"]
    assert history[-1] < 0.5 * history[0]
