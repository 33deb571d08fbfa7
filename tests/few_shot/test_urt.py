"""The attention over extractors against its equations, and what training does to it."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from keras_univrep.few_shot import URT
from tests.few_shot.oracles import centroids, cross_entropy, unit


def an_episode(seed: int, way: int = 3, number: int = 9) -> tuple[np.ndarray, ...]:
    """Support and queries of three extractors of four channels; the second sees the classes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % way
    centres = 2.0 * np.random.default_rng(99).normal(size=(way, 4))
    sets: list[np.ndarray] = []
    for _ in range(2):
        x = rng.normal(size=(number, 3, 4))
        x[:, 1] = centres[labels] + 0.2 * rng.normal(size=(number, 4))
        sets += [x, labels]
    return tuple(sets)


def forward(
    x: np.ndarray, labels: np.ndarray, queries: np.ndarray, weights: dict[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Selection (heads, extractors) and logits (queries, classes), class by class."""
    weights = {name: value.astype("float64") for name, value in weights.items()}
    x, queries = unit(x), unit(queries)
    rows = []
    for query, key in zip(weights["query"], weights["key"]):
        odds = []
        for label in np.unique(labels):
            means = x[labels == label].mean(axis=0)
            beta = (means @ key) @ (means.ravel() @ query) / 2.0
            odds.append(np.exp(beta - beta.max()) / np.exp(beta - beta.max()).sum())
        rows.append(np.mean(odds, axis=0))
    selection = np.stack(rows)

    def g(f: np.ndarray) -> np.ndarray:
        return np.concatenate([np.einsum("i,nic->nc", row, f) for row in selection], axis=1)

    logits = weights["temperature"] * unit(g(queries)) @ unit(centroids(g(x), labels)).T
    return selection, logits


def random_weights(path: pathlib.Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    weights = {
        "query": rng.normal(size=(2, 12, 5)).astype("float32"),
        "key": rng.normal(size=(2, 4, 5)).astype("float32"),
        "temperature": np.float32(7.0),
    }
    np.savez(path, **weights)
    return weights


def test_selection_and_scores_are_those_of_the_equations(tmp_path: pathlib.Path) -> None:
    weights = random_weights(tmp_path / "urt.npz")
    classifier = URT.load(tmp_path / "urt.npz")
    together = [np.stack(parts) for parts in zip(an_episode(0), an_episode(1))]
    classifier.fit(together[0], together[1])
    scores = classifier.scores(together[2])
    for index, (x, labels, queries, _) in enumerate(zip(*together)):
        selection, logits = forward(x, labels, queries, weights)
        assert np.ptp(selection) > 0.1
        np.testing.assert_allclose(classifier.selection_[index], selection, atol=1e-5)
        np.testing.assert_allclose(scores[index], logits, atol=1e-4)


def test_the_loss_of_a_step_is_that_of_the_equation(tmp_path: pathlib.Path) -> None:
    weights = random_weights(tmp_path / "urt.npz")
    x, labels, queries, query_labels = an_episode(0)
    selection, logits = forward(x, labels, queries, weights)
    expected = cross_entropy(logits, query_labels)
    expected += 0.1 * np.sum((selection @ selection.T - np.eye(2)) ** 2)
    expected += 0.5 * 1e-3 * sum(np.sum(np.square(w, dtype="float64")) for w in weights.values())
    classifier = URT.load(tmp_path / "urt.npz")
    classifier.meta_fit([(x, labels, queries, query_labels)], weight_decay=1e-3)
    assert classifier.history_ == [pytest.approx(expected, rel=1e-5)]
    assert np.abs(classifier.weights["key"] - weights["key"]).max() > 1e-3


def test_a_list_of_episodes_of_different_sizes_is_the_episodes_one_by_one(
    tmp_path: pathlib.Path,
) -> None:
    random_weights(tmp_path / "urt.npz")
    parts = [an_episode(0, 3, 9), an_episode(1, 2, 6)]
    lists = tuple([part[i] for part in parts] for i in range(4))
    together = URT.load(tmp_path / "urt.npz").fit(lists[0], lists[1])
    scores = together.scores(lists[2])
    losses = []
    for index, (x, labels, queries, _) in enumerate(parts):
        alone = URT.load(tmp_path / "urt.npz").fit(x, labels)
        np.testing.assert_allclose(together.selection_[index], alone.selection_, atol=1e-5)
        np.testing.assert_allclose(scores[index], alone.scores(queries), atol=1e-4)
        losses += URT.load(tmp_path / "urt.npz").meta_fit([parts[index]]).history_
    # One step together has the mean of the losses.
    step = URT.load(tmp_path / "urt.npz").meta_fit([lists]).history_
    assert losses[0] != losses[1] and step == [pytest.approx(np.mean(losses), rel=1e-5)]


def test_training_selects_the_extractor_that_sees_the_classes(tmp_path: pathlib.Path) -> None:
    # Ways differ: what is padded must not count.
    episodes = [an_episode(seed, 2 + seed % 2) for seed in range(40)]
    classifier = URT(heads=1, units=8, penalty=0.0).meta_fit(episodes, learning_rate=0.1)
    assert np.mean(classifier.history_[-10:]) < np.mean(classifier.history_[:10])
    x, labels, queries, query_labels = an_episode(1000)
    classifier.fit(x, labels)
    assert classifier.selection_.argmax(axis=-1).tolist() == [1]
    assert classifier.selection_.max() > 0.5
    assert (classifier.predict(queries) == query_labels).mean() == 1.0
    classifier.save(tmp_path / "urt.npz")
    again = URT.load(tmp_path / "urt.npz").fit(x, labels)
    np.testing.assert_array_equal(again.scores(queries), classifier.scores(queries))


def test_bad_use_is_refused() -> None:
    x, labels, queries, query_labels = an_episode(0)
    with pytest.raises(RuntimeError, match="must be trained first"):
        URT().fit(x, labels)
    with pytest.raises(ValueError, match="at least one episode"):
        URT().meta_fit([], steps=3)
    with pytest.raises(ValueError, match="of a class of its support set.*Received"):
        URT().meta_fit([(x, labels, queries, query_labels + 5)])
    with pytest.raises(ValueError, match="`heads` must be 1 or more"):
        URT(heads=0)
    with pytest.raises(ValueError, match="`steps` must be 1 or more"):
        URT().meta_fit([])
