"""The decathlon score against every printed row."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.metrics import DECATHLON_BASELINE, decathlon_score
from tests.metrics.published_tables import DOMAINS, LI2022_TABLES_6_AND_9, REBUFFI2018_TABLE_1

ROWS = {
    **{f"li2022 {name}": row for name, row in LI2022_TABLES_6_AND_9.items()},
    **{f"rebuffi2018 {name}": row for name, row in REBUFFI2018_TABLE_1.items()},
}


def test_all_printed_rows_are_here() -> None:
    assert len(ROWS) == 24


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_printed_score_follows_from_the_printed_accuracies(
    row: tuple[tuple[float, ...], float, float | None],
) -> None:
    accuracies, score, _ = row
    assert decathlon_score(dict(zip(DOMAINS, accuracies))) == pytest.approx(score, abs=2.3)


def test_baseline_has_a_quarter_of_the_points() -> None:
    assert decathlon_score(DECATHLON_BASELINE) == pytest.approx(2500.0)
    finetune = LI2022_TABLES_6_AND_9["finetune"][0]
    assert dict(DECATHLON_BASELINE) == dict(zip(DOMAINS, finetune))


def test_perfect_accuracy_has_all_points_and_none_has_no_points() -> None:
    assert decathlon_score(dict.fromkeys(DOMAINS, 100.0)) == pytest.approx(10_000.0)
    assert decathlon_score(dict.fromkeys(DOMAINS, 0.0)) == 0.0


def test_twice_the_error_of_the_baseline_has_no_points() -> None:
    baseline = {"a": 70.0, "b": 90.0}
    assert decathlon_score({"a": 40.0, "b": 80.0}, baseline) == pytest.approx(0.0, abs=1e-9)
    assert decathlon_score({"a": 40.0, "b": 90.0}, baseline) == pytest.approx(250.0)


def test_order_of_the_domains_and_numpy_numbers_change_nothing() -> None:
    accuracies = dict(zip(DOMAINS, LI2022_TABLES_6_AND_9["universal"][0]))
    reverse = {domain: np.float32(accuracies[domain]) for domain in reversed(DOMAINS)}
    assert decathlon_score(reverse) == pytest.approx(decathlon_score(accuracies), abs=1e-2)


def test_baseline_constant_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        DECATHLON_BASELINE["svhn"] = 1.0  # type: ignore[index]


def test_missing_and_unknown_domains_are_named() -> None:
    accuracies = {d: 50.0 for d in DOMAINS if d != "dtd"} | {"textures": 50.0}
    with pytest.raises(ValueError, match=r"missing=\['dtd'\], unknown=\['textures'\]"):
        decathlon_score(accuracies)


@pytest.mark.parametrize("value", [-0.1, 100.1, float("nan"), float("inf")])
def test_accuracy_outside_of_zero_to_hundred_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="The accuracy of 'a' must be"):
        decathlon_score({"a": value}, {"a": 50.0})


def test_fractions_are_refused() -> None:
    with pytest.raises(ValueError, match="look like fractions"):
        decathlon_score(dict.fromkeys(DOMAINS, 0.8))


def test_accuracy_that_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match="The accuracy of 'a' must be a number. Received: None"):
        decathlon_score({"a": None}, {"a": 50.0})  # type: ignore[dict-item]


def test_baseline_without_error_or_domains_is_refused() -> None:
    with pytest.raises(ValueError, match="must leave some error"):
        decathlon_score({"a": 50.0}, {"a": 100.0})
    with pytest.raises(ValueError, match="at least one domain"):
        decathlon_score({}, {})
