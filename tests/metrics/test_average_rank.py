"""Average ranks against SciPy and a printed row."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from keras_univrep.metrics import average_rank
from tests.metrics.published_tables import ONE_SHOT


def test_printed_row_follows_from_the_printed_accuracies() -> None:
    ranks = average_rank({name: row[0] for name, row in ONE_SHOT.items()}, ties="min")
    assert {name: round(rank, 1) for name, rank in ranks.items()} == {
        name: row[1] for name, row in ONE_SHOT.items()
    }


@pytest.mark.parametrize("ties", ["average", "min"])
@pytest.mark.parametrize("lower_is_better", [False, True])
def test_ranks_equal_those_of_scipy_with_ties(ties: str, lower_is_better: bool) -> None:
    table = np.random.default_rng(0).integers(0, 4, size=(6, 9)).astype(float)
    sign = 1.0 if lower_is_better else -1.0
    expected = rankdata(sign * table, method=ties, axis=0).mean(axis=1)
    results = {f"method {i}": row.tolist() for i, row in enumerate(table)}
    ranks = average_rank(results, lower_is_better=lower_is_better, ties=ties)
    assert list(ranks) == list(results)
    np.testing.assert_allclose(list(ranks.values()), expected)


def test_average_ranks_sum_to_the_triangular_number() -> None:
    results = {str(i): [1.0, float(i), 3.0] for i in range(5)}
    assert sum(average_rank(results).values()) == pytest.approx(15.0)


def test_mappings_are_matched_by_name() -> None:
    results = {"ours": {"a": 2.0, "b": 5.0}, "theirs": {"b": 4.0, "a": 3.0}}
    assert average_rank(results) == {"ours": 1.5, "theirs": 1.5}
    assert average_rank({"alone": {"a": 1.0}}) == {"alone": 1.0}


def test_methods_on_different_data_sets_are_refused() -> None:
    with pytest.raises(ValueError, match=r"results of theirs.*missing=\['b'\]"):
        average_rank({"ours": {"a": 2.0, "b": 5.0}, "theirs": {"a": 3.0}})
    with pytest.raises(TypeError, match="both be mappings"):
        average_rank({"ours": {"a": 2.0}, "theirs": [3.0]})  # type: ignore[dict-item]


def test_no_method_and_missing_results_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one method"):
        average_rank({})
    with pytest.raises(ValueError, match="The result of 'ours' on 'a' must be finite"):
        average_rank({"ours": {"a": float("nan")}})
    with pytest.raises(TypeError, match="must be a number. Received: '-'"):
        average_rank({"ours": {"a": "-"}})  # type: ignore[dict-item]


def test_unknown_ties_are_refused() -> None:
    with pytest.raises(ValueError, match="ties='max'"):
        average_rank({"ours": {"a": 1.0}}, ties="max")
