"""The angle to the true normals: small angles, medians and shares."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.metrics import NormalError


def tilted(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normals (1, 10, 10, 3) and the same turned by up to 100 angles; the others are void."""
    radians = np.zeros(100)
    radians[: len(degrees)] = np.radians(degrees)
    turned = np.stack([np.sin(radians), 0 * radians, np.cos(radians)], axis=-1)
    target = np.zeros((100, 3))
    target[: len(degrees), 2] = 1.0
    return target.reshape(1, 10, 10, 3), turned.reshape(1, 10, 10, 3)


def error(degrees: np.ndarray, statistic: str | float) -> float:
    metric = NormalError(statistic)
    metric.update_state(*tilted(degrees))
    return float(metric.result())


@pytest.mark.parametrize("angle", [0.0, 1e-3, 0.1, 45.0, 90.0, 135.0, 179.999, 180.0])
def test_every_angle_is_right_to_a_millionth(angle: float) -> None:
    # The arccos of a float32 cosine would be 0.02 degrees off near the ends.
    assert error(np.array([angle]), "mean") == pytest.approx(angle, rel=1e-6, abs=2e-5)


@pytest.mark.parametrize("count", [1, 2, 9, 100])
def test_median_is_that_of_all_angles_to_half_the_resolution(count: int) -> None:
    angles = np.random.default_rng(count).uniform(0.0, 180.0, count)
    assert error(angles, "median") == pytest.approx(np.median(angles), abs=0.00502)


@pytest.mark.parametrize("angle", [0.0, 180.0])
def test_median_reaches_both_ends(angle: float) -> None:
    assert error(np.full(3, angle), "median") == pytest.approx(angle, abs=0.00502)


@pytest.mark.parametrize("threshold", [11.25, 22.5, 30])
def test_share_counts_smaller_angles_in_per_cent(threshold: float) -> None:
    angles = np.random.default_rng(0).uniform(0.0, 60.0, 90)
    expected = 100.0 * np.mean(angles < threshold)
    assert 0 < expected < 100
    assert error(angles, threshold) == pytest.approx(expected, rel=1e-6)


def test_length_of_a_normal_does_not_matter() -> None:
    target, prediction = tilted(np.array([20.0, 70.0]))
    for scale in (1e-30, 1e30):
        metric = NormalError()
        metric.update_state(target, scale * prediction)
        assert float(metric.result()) == pytest.approx(45.0, rel=1e-6)


def test_prediction_of_zero_is_at_a_right_angle() -> None:
    metric = NormalError()
    metric.update_state(tilted(np.zeros(2))[0], np.zeros((1, 10, 10, 3)))
    assert float(metric.result()) == 90.0


def test_names_tell_the_statistics_apart() -> None:
    names = [NormalError(s).name for s in ("mean", "median", 11.25, 30)]
    assert names == ["normal_mean", "normal_median", "normal_within_11.25", "normal_within_30"]
    assert NormalError("median", name="mine").name == "mine"


@pytest.mark.parametrize("statistic", ["max", 0, -3.0, 181, True, None, float("nan")])
def test_unknown_statistic_is_refused(statistic: object) -> None:
    with pytest.raises(ValueError, match=r"\(0, 180\] degrees. Received: statistic="):
        NormalError(statistic)  # type: ignore[arg-type]
