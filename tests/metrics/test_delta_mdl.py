"""Multi-domain performance against the printed column."""

from __future__ import annotations

import pytest

from keras_univrep.metrics import DECATHLON_BASELINE, delta_mdl, delta_mtl
from tests.metrics.published_tables import DOMAINS, LI2022_TABLES_6_AND_9

ROWS = {name: row for name, row in LI2022_TABLES_6_AND_9.items() if row[2] is not None}


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_printed_value_follows_from_the_printed_accuracies(
    row: tuple[tuple[float, ...], float, float],
) -> None:
    accuracies, _, delta = row
    value = delta_mdl(dict(zip(DOMAINS, accuracies)), DECATHLON_BASELINE)
    assert value == pytest.approx(delta, abs=0.02)


def test_it_is_delta_mtl_of_accuracies_and_takes_sequences() -> None:
    values, single = [80.0, 0.5], [70.0, 0.6]
    assert delta_mdl(values, single) == delta_mtl(values, single, [False, False])
    assert delta_mdl([66.0], [60.0]) == pytest.approx(10.0)


def test_domains_that_differ_are_named() -> None:
    with pytest.raises(ValueError, match=r"unknown=\['dtd'\]"):
        delta_mdl({"svhn": 90.0}, {"svhn": 90.0, "dtd": 50.0})
