"""Padding to few shapes, which must not change an answer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.few_shot import (
    SUR,
    URT,
    CrossTransformer,
    NearestCentroid,
    NearestNeighbours,
    PreClassifierAlignment,
    SimpleCNAPS,
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


def several(x: np.ndarray) -> np.ndarray:
    """What three extractors see of (episodes, samples, channels)."""
    return np.stack([x, x[..., ::-1] ** 2, x**3], axis=2)


def maps(x: np.ndarray) -> np.ndarray:
    """Feature maps of 2x3 places of (episodes, samples, channels)."""
    return x[:, :, None, None] * np.linspace(-1.0, 2.0, 6).reshape(2, 3, 1)


def trained_urt() -> URT:
    rng = np.random.default_rng(3)
    weights = {
        "query": rng.normal(size=(2, 15, 4)).astype("float32"),
        "key": rng.normal(size=(2, 5, 4)).astype("float32"),
        "temperature": np.float32(7.0),
    }
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/urt.npz", **weights)
        return URT.load(f"{folder}/urt.npz")


MAKERS = {
    "euclidean": (lambda: NearestCentroid("euclidean"), None),
    "neighbours": (lambda: NearestNeighbours(3), None),
    "cnaps": (SimpleCNAPS, None),
    "cross-validated": (lambda: PreClassifierAlignment("cross_validated", 3, folds=2), None),
    "transductive": (lambda: TransductiveAlignment(PreClassifierAlignment(steps=3), 2), None),
    "cross-transformer": (CrossTransformer, maps),
    "sur": (lambda: SUR(50.0, steps=3), several),
    "urt": (trained_urt, several),
}
Make = Callable[[], Any]
View = Callable[[np.ndarray], np.ndarray] | None
every = pytest.mark.parametrize("make, view", MAKERS.values(), ids=MAKERS)


@every
def test_padding_changes_no_answer(monkeypatch: pytest.MonkeyPatch, make: Make, view: View) -> None:
    support, labels, queries, _ = episodes(count=2)
    if view is not None:
        support, queries = view(support), view(queries)
    answers = []
    for pads in (False, True):
        monkeypatch.setattr(_compiled, "COMPILES_SHAPES", pads)
        classifier = make().fit(support, labels)
        learned = [getattr(classifier, name, 0) for name in ("theta_", "selection_")]
        answers.append((*learned, classifier.scores(queries)))
    for plain, padded in zip(*answers):
        assert np.shape(plain) == np.shape(padded)
        np.testing.assert_allclose(padded, plain, rtol=1e-4, atol=1e-5)


def test_padding_changes_no_step_of_the_training_of_urt(monkeypatch: pytest.MonkeyPatch) -> None:
    support, labels, queries, query_labels = episodes(count=2)
    losses = []
    for pads in (False, True):
        monkeypatch.setattr(_compiled, "COMPILES_SHAPES", pads)
        step = (several(support), labels, several(queries), query_labels)
        losses.append(trained_urt().meta_fit([step] * 2, 0.1).history_)
    assert losses[0][0] != losses[0][1]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="compiles for every shape on JAX")
@pytest.mark.parametrize("name", ["euclidean", "cnaps", "cross-validated", "sur", "urt"])
def test_episodes_of_varying_way_and_shot_are_traced_once(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make, view = MAKERS[name]
    _compiled._compiled.cache_clear()
    traced: list[tuple[int, ...]] = []
    call = _compiled._Function.call

    def counted(self, inputs):  # noqa: ANN001, ANN202
        traced.append(tuple(inputs[0].shape))
        return call(self, inputs)

    monkeypatch.setattr(_compiled._Function, "call", counted)
    classifier, after_first = make(), 0
    for way, shot in ((5, 3), (7, 2), (3, 5), (8, 2)):
        support, labels, queries, _ = episodes(1, way, shot)
        if view is not None:
            support, queries = view(support), view(queries)
        assert classifier.fit(support, labels).scores(queries).shape == (1, 6, way)
        after_first = after_first or len(traced)
    assert len(traced) == after_first > 0
