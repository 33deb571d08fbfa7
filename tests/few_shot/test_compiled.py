"""Padding to few shapes, which must not change an answer."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_univrep.few_shot import (
    SUR,
    PreClassifierAlignment,
    TransductiveAlignment,
    _compiled,
)
from tests.few_shot.oracles import episodes


def test_buckets_are_few_and_waste_at_most_half_as_much_again() -> None:
    sizes = range(1, 501)
    found = [_compiled.bucket(size) for size in sizes]
    assert all(size <= bucket <= max(8, 1.5 * size) for size, bucket in zip(sizes, found))
    assert len(set(found)) == 13
    assert [_compiled.bucket(size) for size in (8, 9, 12, 13, 16, 17)] == [8, 12, 12, 16, 16, 24]


@pytest.mark.parametrize("rate", ["unseen", "cross_validated"])
def test_padding_changes_no_answer(monkeypatch: pytest.MonkeyPatch, rate: str) -> None:
    support, labels, queries, _ = episodes(count=2)
    answers = []
    for pads in (False, True):
        monkeypatch.setattr(_compiled, "COMPILES_SHAPES", pads)
        alignment = PreClassifierAlignment(rate, steps=3, folds=2).fit(support, labels)
        refined = TransductiveAlignment(PreClassifierAlignment(steps=3), 2).fit(support, labels)
        answers.append((alignment.theta_, alignment.scores(queries), refined.scores(queries)))
    for plain, padded in zip(*answers):
        assert plain.shape == padded.shape
        np.testing.assert_allclose(padded, plain, atol=1e-5)


def test_padding_changes_no_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    support, labels, _, _ = episodes(count=2)
    features = np.stack([support, support[..., ::-1] ** 2, support**3], axis=2)
    selections = []
    for pads in (False, True):
        monkeypatch.setattr(_compiled, "COMPILES_SHAPES", pads)
        selections.append(SUR(50.0, steps=3).fit(features, labels).selection_)
    assert np.ptp(selections[0]) > 1e-2
    np.testing.assert_allclose(selections[1], selections[0], atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="compiles for every shape on JAX")
def test_episodes_of_varying_way_and_shot_are_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _compiled._compiled.cache_clear()
    traced: list[tuple[int, ...]] = []
    call = _compiled._Function.call

    def counted(self, inputs):  # noqa: ANN001, ANN202
        traced.append(tuple(inputs[0].shape))
        return call(self, inputs)

    monkeypatch.setattr(_compiled._Function, "call", counted)
    classifier = PreClassifierAlignment(steps=7)
    after_first = 0
    for way, shot in ((5, 3), (7, 2), (3, 5), (8, 2)):
        support, labels, queries, _ = episodes(1, way, shot)
        assert classifier.fit(support, labels).scores(queries).shape == (1, 6, way)
        after_first = after_first or len(traced)
    assert len(traced) == after_first > 0
