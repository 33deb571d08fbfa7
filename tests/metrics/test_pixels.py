"""What the metrics of dense tasks share: which pixels count, and sums over a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.metrics import DepthError, MeanIoU, NormalError
from keras_univrep.metrics._pixels import accumulate, add_sums
from tests.golden_dense import CLASSES, golden_depths, golden_labels, golden_normals


class Case(NamedTuple):
    """A metric with targets, predictions, what void is, and its value."""

    metric: Callable[[], keras.metrics.Metric]
    target: np.ndarray
    prediction: np.ndarray
    void: int
    value: float


def share_within(target: np.ndarray, prediction: np.ndarray, degrees: float) -> float:
    cosines = np.sum(target * prediction, axis=-1)[np.any(target, axis=-1)]
    return float(100 * np.mean(cosines > np.cos(np.radians(degrees))))


CASES = {
    "iou": Case(lambda: MeanIoU(CLASSES), *golden_labels(), -1, 0.110086580),
    "depth": Case(DepthError, *golden_depths(), 0, 0.784767673),
    "relative": Case(lambda: DepthError(relative=True), *golden_depths(), 0, 0.435591961),
    "mean": Case(NormalError, *golden_normals(), 0, 83.225782),
    "median": Case(lambda: NormalError("median"), *golden_normals(), 0, 82.307189),
    "within": Case(
        lambda: NormalError(30), *golden_normals(), 0, share_within(*golden_normals(), 30)
    ),
}


def _no_loss(target: Any, prediction: Any) -> Any:
    return 0.0 * ops.mean(prediction, axis=(1, 2, 3))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def measure(case: Case, *batches: Any, weights: np.ndarray | None = None) -> float:
    """The value after the given batches, slices of the images or numbers of images."""
    metric = case.metric()
    for batch in batches:
        weight = None if weights is None else weights[batch]
        metric.update_state(case.target[batch], case.prediction[batch], sample_weight=weight)
    return float(metric.result())


def test_value_is_the_golden_one(case: Case) -> None:
    tolerance = 0.005 if case is CASES["median"] else 2e-6 * case.value
    assert measure(case, slice(0, 2)) == pytest.approx(case.value, abs=tolerance)


def test_split_into_batches_does_not_matter(case: Case) -> None:
    target = case.target.copy()
    target[0, 1:, ::2] = case.void
    case = case._replace(target=target)
    whole = measure(case, slice(0, 2))
    assert measure(case, [1], [0]) == pytest.approx(whole, rel=1e-6)
    assert measure(case, slice(0, 2), [1], [0]) == pytest.approx(whole, rel=1e-6)
    if case.target.ndim == 4:
        rows = case.metric()
        for row in range(4):
            rows.update_state(case.target[:, row : row + 1], case.prediction[:, row : row + 1])
        assert float(rows.result()) == pytest.approx(whole, rel=1e-6)


def test_nothing_valid_is_nan_and_adds_nothing(case: Case) -> None:
    metric = case.metric()
    assert np.isnan(float(metric.result()))
    void = np.full_like(case.target, case.void)
    metric.update_state(void, np.full_like(case.prediction, np.nan))
    assert np.isnan(float(metric.result()))
    metric.update_state(case.target, case.prediction)
    assert float(metric.result()) == measure(case, slice(0, 2))
    metric.reset_state()
    assert np.isnan(float(metric.result()))


def test_pixel_of_weight_zero_is_void(case: Case) -> None:
    weights = np.ones((2, 4, 6))
    weights[0, ::2, 1:] = 0.0
    target = case.target.copy()
    target[weights == 0] = case.void
    assert measure(case, slice(0, 2), weights=weights) == pytest.approx(
        measure(case._replace(target=target), slice(0, 2)), rel=1e-6
    )


@pytest.mark.parametrize("shape", [(2,), (2, 4, 6, 1)])
def test_integer_weight_repeats_an_image(case: Case, shape: tuple[int, ...]) -> None:
    weights = np.broadcast_to(np.array([3.0, 1.0]).reshape((2,) + (1,) * (len(shape) - 1)), shape)
    repeated = measure(case, [0, 0, 0, 1])
    assert measure(case, slice(0, 2), weights=weights) == pytest.approx(repeated, rel=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if name != "iou"])
def test_prediction_that_is_no_number_shows(name: str) -> None:
    case = CASES[name]
    prediction = case.prediction.copy()
    prediction[1, 3, 5] = np.nan
    assert np.isnan(measure(case._replace(prediction=prediction), [1], [0]))


def test_compiled_evaluation_gives_the_same_value(case: Case) -> None:
    image = keras.Input((4, 6, case.prediction.shape[-1]))
    model = keras.Model(image, keras.layers.Identity()(image))
    model.compile(loss=_no_loss, metrics=[case.metric()])
    x, y = case.prediction.astype("float32"), case.target.astype("float32")
    logs = model.evaluate(x, y, 1, return_dict=True, verbose=0)
    name = case.metric().name
    assert logs[name] == pytest.approx(measure(case, slice(0, 2)), rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_predictions_are_measured_in_float32(case: Case, dtype: str) -> None:
    rounded = ops.cast(case.prediction, dtype)
    again = ops.convert_to_numpy(ops.cast(rounded, "float32"))
    metric = case.metric()
    metric.update_state(case.target, rounded)
    assert float(metric.result()) == measure(case._replace(prediction=again), slice(0, 2))


def test_maps_that_do_not_fit_are_refused(case: Case) -> None:
    metric = case.metric()
    for target, prediction in [
        (case.target[:, :2], case.prediction),
        (case.target[:1], case.prediction),
        (case.target, case.prediction[..., 0]),
        (case.target[..., None], case.prediction),
        (case.target, np.concatenate([case.prediction] * 2, axis=-1)),
    ]:
        with pytest.raises(ValueError, match="needs a target of shape.*Received"):
            metric.update_state(target, prediction)
    with pytest.raises(ValueError, match=r"sample_weight of shape \(2, 4\)"):
        metric.update_state(case.target, case.prediction, np.ones((2, 4)))


def test_configuration_survives_serialization(case: Case) -> None:
    metric = case.metric()
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(copy) is type(metric)
    assert copy.get_config() == metric.get_config()


class Total(keras.metrics.Metric):
    """Adds up all targets."""

    def __init__(self) -> None:
        super().__init__(name="total")
        self.sums = add_sums(self, 1)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        accumulate(self.sums, ops.reshape(ops.cast(y_true, "float32"), (-1,)))

    def result(self) -> Any:
        return self.sums[0, 0] + self.sums[1, 0]


def test_compiled_count_goes_on_beyond_the_integers_of_float32() -> None:
    image = keras.Input((1,))
    model = keras.Model(image, keras.layers.Identity()(image))
    total = Total()
    model.compile(loss="mse", metrics=[total])
    counts = np.array([2.0**26, 1.0, 1.0, 1.0, 2.0**27, 3.0, 1.0], "float32").reshape(-1, 1)
    model.evaluate(counts, counts, 1, verbose=0)
    rows = ops.convert_to_numpy(total.sums.value).astype("float64")
    assert rows.sum() == 2**26 + 2**27 + 7
