"""The CKA loss against a float64 oracle, golden numbers and its limits."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.losses import CKA
from tests.golden_inputs import golden_x, golden_y
from tests.losses.oracles import bandwidth, central_differences, cka, student_gradient, unit

X, Y = golden_x(), golden_y()


@pytest.mark.parametrize(
    ("kernel", "normalize", "golden"),
    [
        ("rbf", False, 0.658997919),
        ("rbf", True, 0.671832573),
        ("linear", False, 0.461552124),
        ("linear", True, 0.514400577),
    ],
)
def test_value_is_the_golden_one(kernel: str, normalize: bool, golden: float) -> None:
    loss = CKA(kernel=kernel, normalize=normalize)
    assert float(loss(Y, X)) == pytest.approx(1.0 - golden, abs=1e-5)
    assert cka(X, Y, kernel, normalize) == pytest.approx(golden, abs=1e-8)


def test_channels_of_teacher_and_student_may_differ() -> None:
    loss = CKA(normalize=False)
    assert float(loss(golden_y(8, 3), X)) == pytest.approx(1.0 - 0.672792194, abs=1e-5)


def test_bandwidth_of_the_oracle_is_the_lower_median() -> None:
    assert bandwidth(X, normalize=False) == pytest.approx(5.693999876, abs=1e-8)


def test_gradient_is_the_golden_one() -> None:
    golden = [-0.113690549, -0.064873619, 0.087697972, 0.020488272, -0.035533484]
    np.testing.assert_allclose(student_gradient(CKA(), Y, X)[0], golden, atol=1e-5)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
@pytest.mark.parametrize("normalize", [True, False])
def test_gradient_equals_central_differences_at_a_fixed_bandwidth(
    kernel: str, normalize: bool
) -> None:
    widths = (bandwidth(X, normalize), bandwidth(Y, normalize))
    numeric = central_differences(lambda x: 1.0 - cka(x, Y, kernel, normalize, widths), X)
    gradient = student_gradient(CKA(kernel=kernel, normalize=normalize), Y, X)
    np.testing.assert_allclose(gradient, numeric, atol=2e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("batch", "channels"), [(3, 4), (17, 64), (40, 7)])
def test_value_equals_the_oracle_on_random_features(seed: int, batch: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    student = rng.normal(size=(batch, channels)) + 5.0
    teacher = student @ rng.normal(size=(channels, channels + 1))
    assert float(CKA()(teacher, student)) == pytest.approx(1.0 - cka(student, teacher), abs=2e-5)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_equal_features_have_no_loss(kernel: str) -> None:
    assert float(CKA(kernel=kernel)(X, X)) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_rotation_and_scale_of_the_student_change_nothing(kernel: str) -> None:
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    loss = CKA(kernel=kernel)
    assert float(loss(Y, 7.0 * X @ rotation)) == pytest.approx(float(loss(Y, X)), abs=1e-5)


def test_a_shift_changes_nothing_without_normalisation() -> None:
    loss = CKA(normalize=False)
    assert float(loss(Y, X + 3.0)) == pytest.approx(float(loss(Y, X)), abs=1e-5)


def test_common_permutation_of_the_batch_changes_nothing() -> None:
    order = np.random.default_rng(0).permutation(len(X))
    assert float(CKA()(Y[order], X[order])) == pytest.approx(float(CKA()(Y, X)), abs=1e-6)


def test_loss_is_symmetric() -> None:
    assert float(CKA()(X, Y)) == pytest.approx(float(CKA()(Y, X)), abs=1e-6)


@pytest.mark.parametrize(
    "features",
    [X[:1], np.ones((6, 5)), np.zeros((6, 5)), np.full((6, 5), 1e3)],
    ids=["one sample", "equal samples", "zeros", "equal large samples"],
)
def test_batch_without_information_has_loss_one_and_no_gradient(features: np.ndarray) -> None:
    teacher = Y[: len(features)]
    for loss in (CKA(), CKA(normalize=False), CKA(kernel="linear")):
        assert float(loss(teacher, features)) == pytest.approx(1.0, abs=1e-6)
        np.testing.assert_allclose(student_gradient(loss, teacher, features), 0.0, atol=1e-6)


def test_two_samples_have_no_information_for_the_rbf_kernel() -> None:
    assert float(CKA()(Y[:2], X[:2])) == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(student_gradient(CKA(), Y[:2], X[:2]), 0.0, atol=1e-6)


def test_there_is_one_value_per_batch() -> None:
    assert tuple(CKA(reduction=None)(Y, X).shape) == (1,)
    assert tuple(CKA()(Y, X).shape) == ()


def test_repeated_images_count_as_zero_distances() -> None:
    rng = np.random.default_rng(3)
    student = np.repeat(unit(rng.normal(size=(4, 32))), 3, axis=0).astype("float32") + 2.0
    teacher = np.repeat(unit(rng.normal(size=(4, 32))), 3, axis=0).astype("float32")
    expected = 1.0 - cka(student.astype("float64"), teacher.astype("float64"))
    assert float(CKA()(teacher, student)) == pytest.approx(expected, abs=1e-5)
    assert np.isfinite(student_gradient(CKA(), teacher, student)).all()


def test_zero_feature_vector_has_a_finite_gradient() -> None:
    student = X.copy()
    student[2] = 0.0
    assert np.isfinite(student_gradient(CKA(), Y, student)).all()


def test_diverged_features_are_seen_in_the_loss() -> None:
    student = X.copy()
    student[1, 1] = np.nan
    assert np.isnan(float(CKA()(Y, student)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_features_are_compared_in_float32(dtype: str) -> None:
    # 300 squared does not fit into float16.
    student, teacher = ops.cast(300.0 * X, dtype), ops.cast(300.0 * Y, dtype)
    for normalize in (True, False):
        expected = 1.0 - cka(
            ops.convert_to_numpy(ops.cast(student, "float32")).astype("float64"),
            ops.convert_to_numpy(ops.cast(teacher, "float32")).astype("float64"),
            normalize=normalize,
        )
        value = CKA(normalize=normalize, dtype=dtype).call(teacher, student)
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        assert float(value[0]) == pytest.approx(expected, abs=1e-5)


def test_scalar_weight_scales_the_loss() -> None:
    assert float(CKA()(Y, X, sample_weight=0.5)) == pytest.approx(0.5 * float(CKA()(Y, X)))


@pytest.mark.parametrize("weight", [np.ones(8), [1.0] * 8, [[1.0]] * 8], ids=["a", "list", "2-D"])
def test_weight_per_sample_is_refused(weight: object) -> None:
    with pytest.raises(ValueError, match="no value per sample.*Received: sample_weight of shape"):
        CKA()(Y, X, sample_weight=weight)


def test_feature_maps_are_refused_with_the_way_out() -> None:
    maps = np.ones((4, 2, 2, 3))
    with pytest.raises(ValueError, match=r"\(batch, channels\).*GlobalAveragePooling2D"):
        CKA()(maps, maps)


def test_unequal_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="same batch size. Received"):
        CKA()(Y[:5], X)


def test_unknown_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel='poly'"):
        CKA(kernel="poly")


def test_configuration_survives_serialization() -> None:
    loss = CKA(kernel="linear", normalize=False, reduction="sum", name="mine", dtype="float64")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(copy, CKA)
    assert copy.get_config() == loss.get_config()


def test_student_learns_the_teacher_in_a_compiled_fit_with_a_partial_batch() -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(41, 6)).astype("float32")
    teacher = np.tanh(inputs @ rng.normal(size=(6, 4))).astype("float32")
    student = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    student.compile(keras.optimizers.Adam(0.05), loss=CKA())
    history = student.fit(inputs, teacher, batch_size=20, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.7 * history[0]


def test_gradient_of_the_teacher_is_that_of_the_student_by_symmetry() -> None:
    swapped = student_gradient(lambda fixed, x: CKA()(x, fixed), Y, X)
    np.testing.assert_allclose(swapped, student_gradient(CKA(), Y, X), atol=1e-6)


@pytest.mark.parametrize("batch", [7, 8])
def test_training_takes_the_gradient_that_the_golden_inputs_have(batch: int) -> None:
    # `student_gradient` may differentiate the value; a training takes the loss's own formula.
    student = keras.Variable(X[:batch])
    _, _, (gradient,) = backend.gradients(lambda: (CKA()(Y[:batch], student.value), ()), [student])
    widths = (bandwidth(X[:batch]), bandwidth(Y[:batch]))
    numeric = central_differences(lambda x: 1.0 - cka(x, Y[:batch], "rbf", True, widths), X[:batch])
    np.testing.assert_allclose(ops.convert_to_numpy(gradient), numeric, atol=2e-5)


def test_second_derivatives_are_those_of_the_value() -> None:
    fixed = ops.convert_to_tensor(Y, dtype="float32")
    direction = ops.convert_to_tensor(np.random.default_rng(0).normal(size=X.shape), "float32")

    def slope(values: list) -> tuple:
        grads = backend.value_and_grad(lambda v: (CKA()(fixed, v[0]), ()), values)[1]
        return ops.sum(grads[0] * direction), ()

    start = ops.convert_to_tensor(X, dtype="float32")
    curvature = ops.convert_to_numpy(backend.value_and_grad(slope, [start])[1][0])
    widths, along = (bandwidth(X), bandwidth(Y)), ops.convert_to_numpy(direction)

    def gradient(at: np.ndarray) -> np.ndarray:
        return central_differences(lambda x: 1.0 - cka(x, Y, "rbf", True, widths), at, 1e-4)

    expected = (gradient(X + 1e-3 * along) - gradient(X - 1e-3 * along)) / 2e-3
    np.testing.assert_allclose(curvature, expected, atol=1e-3)
