"""Confidence intervals against their formula and their coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from keras_univrep.metrics import confidence_interval


def test_hand_value_in_both_conventions() -> None:
    mean, half = confidence_interval([1.0, 2.0, 3.0])
    assert mean == pytest.approx(2.0)
    assert half == pytest.approx(1.96 * math.sqrt(2.0 / 3.0) / math.sqrt(3.0))
    _, unbiased = confidence_interval([1.0, 2.0, 3.0], ddof=1)
    assert unbiased == pytest.approx(1.96 / math.sqrt(3.0))


def test_equal_values_and_a_single_value_have_no_width() -> None:
    assert confidence_interval([70.0] * 5) == (70.0, 0.0)
    assert confidence_interval(np.array([70.0])) == (70.0, 0.0)


def test_units_and_shift_carry_over() -> None:
    values = np.random.default_rng(0).normal(size=50)
    mean, half = confidence_interval(values)
    scaled_mean, scaled_half = confidence_interval(100.0 * values + 3.0)
    assert scaled_mean == pytest.approx(100.0 * mean + 3.0)
    assert scaled_half == pytest.approx(100.0 * half)


def test_mean_of_600_episodes_is_covered_19_times_in_20() -> None:
    samples = np.random.default_rng(0).binomial(75, 0.7, size=(2000, 600)) / 75.0
    covered = [abs(m - 0.7) <= h for m, h in map(confidence_interval, samples)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_low_precision_values_are_averaged_in_float64() -> None:
    values = np.full(4096, 60_000.0, "float16")
    assert confidence_interval(values) == (float(np.float16(60_000.0)), 0.0)


@pytest.mark.parametrize(
    ("values", "ddof", "message"),
    [
        ([], 0, "more than ddof=0 numbers. Received: 0"),
        ([1.0], 1, "more than ddof=1 numbers. Received: 1"),
        ([[1.0, 2.0]], 0, r"shape=\(1, 2\)"),
        ([1.0, float("nan")], 0, "1 of 2"),
        ([1.0, 2.0], 2, "ddof=2"),
    ],
)
def test_unusable_values_are_refused(values: list[float], ddof: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confidence_interval(values, ddof=ddof)


@pytest.mark.parametrize("ddof", [0.0, True, None])
def test_ddof_that_is_no_integer_is_refused(ddof: object) -> None:
    with pytest.raises(TypeError, match="`ddof` must be an integer"):
        confidence_interval([1.0, 2.0], ddof=ddof)  # type: ignore[arg-type]
