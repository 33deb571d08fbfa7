"""Rows of comparison tables, by hand."""

from __future__ import annotations

import pytest

from keras_univrep.evaluation import comparison_table

RESULTS = {
    "a": {"x": (50.004, 1.0), "y": (60.0, 2.0), "z": (30.0, 0.5)},
    "b": {"x": (50.001, 1.0), "y": (70.0, 2.126), "z": (30.0, 0.5)},
}


def test_means_and_intervals_stand_by_domain_and_group() -> None:
    first, second = comparison_table(RESULTS, seen=["y", "x"])
    assert second["method"] == "b"
    assert (second["y"], second["y +-"]) == (70.0, 2.13)
    assert second["seen"] == pytest.approx(60.0, abs=0.006)
    assert (second["unseen"], second["all"]) == (30.0, 50.0)
    assert first["seen"] == 55.0


def test_ties_share_a_rank_and_rounding_makes_none() -> None:
    first, second = comparison_table(RESULTS)
    # x: a before b although both print as 50.0; y: b before a; z: equal.
    assert first["x"] == second["x"] == 50.0
    assert (first["rank"], second["rank"]) == (1.5, 1.5)


def test_a_group_without_domains_has_no_mean() -> None:
    assert "seen" not in comparison_table(RESULTS)[0]
    assert "unseen" not in comparison_table(RESULTS, seen=["x", "y", "z"])[0]


def test_unknown_seen_domains_and_unequal_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="`seen` must hold some of.*Received: .'w'"):
        comparison_table(RESULTS, seen=["w"])
    with pytest.raises(ValueError, match="missing"):
        comparison_table({**RESULTS, "c": {"x": (1.0, 0.0)}})
    with pytest.raises(ValueError, match="at least one method"):
        comparison_table({})
