"""Multi-task performance against every printed NYU-v2 row."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.metrics import delta_mtl
from tests.metrics.published_tables import NYU

TASKS = ("segmentation", "depth", "normals")
LOWER = {"segmentation": False, "depth": True, "normals": True}
ROWS = [
    pytest.param(single, row, id=f"{block}: {method}")
    for block, (single, methods) in NYU.items()
    for method, row in methods.items()
]


def test_all_printed_rows_are_here() -> None:
    assert len(ROWS) == 35


@pytest.mark.parametrize(("single", "row"), ROWS)
def test_printed_delta_follows_from_the_printed_metrics(
    single: tuple[float, float, float], row: tuple[float, float, float, float]
) -> None:
    values, baselines = dict(zip(TASKS, row[:3])), dict(zip(TASKS, single))
    assert delta_mtl(values, baselines, LOWER) == pytest.approx(row[3], abs=0.02)


def test_baseline_against_itself_is_zero() -> None:
    assert delta_mtl([40.0, 0.6], [40.0, 0.6], [False, True]) == 0.0


def test_hand_value_with_both_directions() -> None:
    # +10 % of an accuracy, and an error that grows by 20 %.
    assert delta_mtl([55.0, 1.2], [50.0, 1.0], [False, True]) == pytest.approx(-5.0)


def test_sequences_mappings_and_arrays_agree() -> None:
    values, single, flags = [45.52, 0.4912, 24.57], [40.54, 0.6276, 24.28], [False, True, True]
    expected = delta_mtl(values, single, flags)
    assert delta_mtl(np.array(values), np.array(single), np.array(flags)) == expected
    shuffled = dict(reversed(list(zip(TASKS, single))))
    assert delta_mtl(dict(zip(TASKS, values)), shuffled, LOWER) == pytest.approx(expected)


def test_units_do_not_matter() -> None:
    assert delta_mtl([0.5], [0.6], [True]) == pytest.approx(delta_mtl([50.0], [60.0], [True]))


def test_tasks_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match=r"missing=\['a'\], unknown=\['b'\]"):
        delta_mtl({"a": 1.0}, {"b": 1.0}, {"a": True})
    with pytest.raises(ValueError, match="`lower_is_better`.*missing="):
        delta_mtl({"a": 1.0}, {"a": 1.0}, {})
    with pytest.raises(ValueError, match="1 and 2 numbers"):
        delta_mtl([1.0], [1.0, 2.0], [True])


def test_no_task_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one task"):
        delta_mtl({}, {}, {})


def test_zero_baseline_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be zero.*task 'a'"):
        delta_mtl({"a": 1.0}, {"a": 0.0}, {"a": True})


def test_result_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="The value of task 'a' must be finite"):
        delta_mtl({"a": float("nan")}, {"a": 1.0}, {"a": True})


def test_flag_that_is_no_bool_is_refused() -> None:
    with pytest.raises(TypeError, match="'lower' for task 'a'"):
        delta_mtl({"a": 1.0}, {"a": 1.0}, {"a": "lower"})  # type: ignore[dict-item]


def test_mapping_with_a_sequence_is_refused() -> None:
    with pytest.raises(TypeError, match="both be mappings"):
        delta_mtl({"a": 1.0}, [1.0], {"a": True})
