"""What the losses of dense tasks share: which pixels count, and how much."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.losses import DepthL1, NormalCosine, SegmentationCrossEntropy
from keras_univrep.metrics import DepthError, MeanIoU, NormalError
from keras_univrep.models import MultiTaskModel
from tests.golden_dense import golden_depths, golden_labels, golden_normals
from tests.losses.oracles import central_differences, student_gradient


class Case(NamedTuple):
    """A loss with targets, predictions, what void is, and the loss of each pixel."""

    loss: type[keras.losses.Loss]
    target: np.ndarray
    prediction: np.ndarray
    void: int
    values: Callable[[np.ndarray, np.ndarray], np.ndarray]


def cross_entropies(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits) / np.sum(np.exp(logits), axis=-1, keepdims=True)
    return -np.log(np.take_along_axis(p, np.maximum(labels, 0)[..., None], axis=-1)[..., 0])


CASES = {
    "segmentation": Case(SegmentationCrossEntropy, *golden_labels(), -1, cross_entropies),
    "depth": Case(DepthL1, *golden_depths(), 0, lambda g, p: np.abs(g - p)[..., 0]),
    "normals": Case(NormalCosine, *golden_normals(), 0, lambda g, p: 1 - np.sum(g * p, axis=-1)),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """A case whose images have unequal numbers of valid pixels."""
    found = CASES[request.param]
    target = found.target.copy()
    target[0, 1:, ::2] = found.void
    return found._replace(target=target)


def valid(case: Case) -> np.ndarray:
    known = case.target != case.void
    return known if known.ndim == 3 else np.any(known, axis=-1)


def per_pixel(case: Case) -> np.ndarray:
    return np.where(valid(case), case.values(case.target, case.prediction), 0.0)


def test_average_is_over_the_valid_pixels_of_the_batch_and_not_of_each_image(case: Case) -> None:
    sums, counts = per_pixel(case).sum(axis=(1, 2)), valid(case).sum(axis=(1, 2))
    assert abs(sums.sum() / counts.sum() - np.mean(sums / counts)) > 1e-3
    value = float(case.loss()(case.target, case.prediction))
    assert value == pytest.approx(sums.sum() / counts.sum(), abs=1e-6)


def test_batch_without_a_valid_pixel_has_neither_loss_nor_gradient(case: Case) -> None:
    void = np.full_like(case.target, case.void)
    loss = case.loss()
    for prediction in (case.prediction, np.full_like(case.prediction, np.nan)):
        assert float(loss(void, prediction)) == 0.0
        assert not np.any(student_gradient(loss, void, prediction))


def test_void_pixels_may_hold_anything(case: Case) -> None:
    prediction = case.prediction.copy()
    prediction[~valid(case)] = np.nan
    loss = case.loss()
    assert float(loss(case.target, prediction)) == float(loss(case.target, case.prediction))
    gradient = student_gradient(loss, case.target, prediction)
    np.testing.assert_array_equal(gradient, student_gradient(loss, case.target, case.prediction))
    assert not np.any(gradient[~valid(case)])


@pytest.mark.parametrize("shape", [(), (2,), (2, 4, 6), (2, 4, 6, 1)])
def test_weights_of_batch_images_and_pixels_multiply_the_losses(
    case: Case, shape: tuple[int, ...]
) -> None:
    weights = np.random.default_rng(0).uniform(0.0, 2.0, shape)
    aligned = weights.reshape(shape[:3] + (1,) * (3 - len(shape))) * np.ones((2, 4, 6))
    expected = np.sum(aligned * per_pixel(case)) / np.sum(valid(case))
    value = case.loss()(case.target, case.prediction, sample_weight=weights)
    assert float(value) == pytest.approx(expected, abs=1e-6)


def test_each_reduction_counts_valid_pixels_alone(case: Case) -> None:
    weights = np.random.default_rng(0).uniform(0.0, 2.0, (2, 4, 6))
    weighted = weights * per_pixel(case)

    def value(reduction: str | None) -> np.ndarray:
        loss = case.loss(reduction=reduction)
        return ops.convert_to_numpy(loss(case.target, case.prediction, sample_weight=weights))

    np.testing.assert_allclose(value(None), weighted, atol=1e-6)
    np.testing.assert_allclose(value("sum"), weighted.sum(), rtol=1e-5)
    by_weight = weighted.sum() / np.sum(weights * valid(case))
    np.testing.assert_allclose(value("mean_with_sample_weight"), by_weight, rtol=1e-5)


def test_gradient_equals_central_differences(case: Case) -> None:
    def oracle(prediction: np.ndarray) -> float:
        return per_pixel(case._replace(prediction=prediction)).sum() / valid(case).sum()

    gradient = student_gradient(case.loss(), case.target, case.prediction)
    expected = central_differences(oracle, case.prediction)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_computed_in_float32(case: Case, dtype: str) -> None:
    # More pixels than float16 can count, and than bfloat16 can add one by one.
    tiles = (1, 40, 40, 1)
    prediction = ops.tile(ops.cast(case.prediction, dtype), tiles)
    rounded = ops.convert_to_numpy(ops.cast(prediction, "float32")).astype("float64")
    large = case._replace(target=np.tile(case.target, tiles[: case.target.ndim]))
    large = large._replace(prediction=rounded)
    loss = case.loss(dtype=dtype)
    value = loss(large.target, prediction)
    assert keras.backend.standardize_dtype(value.dtype) == "float32" == loss.dtype
    expected = per_pixel(large).sum() / valid(large).sum()
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_maps_that_do_not_fit_are_refused(case: Case) -> None:
    loss, name = case.loss(), case.loss.__name__
    for target, prediction in [
        (case.target[:, :2], case.prediction),
        (case.target[:1], case.prediction),
        (case.target, case.prediction[..., 0]),
        (case.target[..., None], case.prediction),
        (case.target[0], case.prediction),
    ]:
        with pytest.raises(ValueError, match=f"`{name}` needs a target of shape.*Received"):
            loss(target, prediction)
    if case.loss is not SegmentationCrossEntropy:
        with pytest.raises(ValueError, match="of the same size. Received"):
            loss(case.target, np.concatenate([case.prediction] * 2, axis=-1))


@pytest.mark.parametrize("shape", [(3,), (2, 4), (2, 4, 5), (1, 4, 6), (2, 4, 6, 3)])
def test_weights_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"`DepthL1` takes a `sample_weight`.*Received"):
        DepthL1()(*golden_depths(), sample_weight=np.ones(shape))


def test_configuration_survives_serialization(case: Case) -> None:
    loss = case.loss(reduction="sum", name="mine")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(copy) is case.loss
    assert copy.get_config() == loss.get_config()


def _network() -> keras.Model:
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 1, activation="relu", name="features")(image)
    # Away from the zero vector, which Keras's layer does not differentiate.
    normals = keras.layers.Conv2D(3, 1, bias_initializer="ones")(x)
    return keras.Model(
        image,
        {
            "segmentation": keras.layers.Conv2D(5, 1, name="logits")(x),
            "depth": keras.layers.Conv2D(1, 1, name="metres")(x),
            "normals": keras.layers.UnitNormalization(axis=-1, name="normals")(normals),
        },
    )


def _data() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Four images; the last two, a batch of their own, have no valid pixel for depth."""
    targets = {}
    for name, case in CASES.items():
        twice = np.concatenate([case.target, case.target[::-1]])
        targets[name] = twice.astype("int32" if name == "segmentation" else "float32")
    targets["depth"][2:] = 0.0
    images = np.random.default_rng(0).uniform(size=(4, 4, 6, 3)).astype("float32")
    return images, targets


def test_keras_trains_with_weights_of_pixels() -> None:
    images, targets = _data()
    network = _network()
    network.compile(
        keras.optimizers.Adam(0.05), {name: case.loss() for name, case in CASES.items()}
    )
    weights = {name: np.ones((4, 4, 6), "float32") for name in CASES}
    weights["normals"][0] = 0.0
    before = network(images)
    expected = 0.0
    for name, case in CASES.items():
        prediction = ops.convert_to_numpy(before[name]).astype("float64")
        found = case._replace(target=targets[name], prediction=prediction)
        expected += np.sum(per_pixel(found) * weights[name]) / np.sum(valid(found))
    logs = network.fit(images, targets, 4, 20, sample_weight=weights, shuffle=False, verbose=0)
    losses = logs.history["loss"]
    assert losses[0] == pytest.approx(expected, rel=1e-4)
    assert losses[-1] < 0.9 * losses[0]


def test_model_of_several_tasks_trains_and_is_measured_with_a_void_batch() -> None:
    images, targets = _data()
    model = MultiTaskModel(_network(), shared="features")
    model.compile(
        keras.optimizers.Adam(0.05),
        {name: case.loss() for name, case in CASES.items()},
        metrics={
            "segmentation": MeanIoU(5),
            "depth": [DepthError(), DepthError(relative=True)],
            "normals": [NormalError(), NormalError("median"), NormalError(30)],
        },
    )
    history = model.fit(images, targets, 2, 5, shuffle=False, verbose=0).history
    assert np.isfinite([values for values in history.values()]).all()
    assert history["loss"][-1] < history["loss"][0]
    logs = model.evaluate(images, targets, 2, return_dict=True, verbose=0)
    depths = ops.convert_to_numpy(model(images)["depth"])
    known = targets["depth"] != 0
    error = np.mean(np.abs(depths - targets["depth"])[known])
    assert logs["depth_depth_error"] == pytest.approx(error, rel=1e-5)
