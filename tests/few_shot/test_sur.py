"""The selection of extractors against explicit concatenation and a float64 Adadelta."""

from __future__ import annotations

import numpy as np
import pytest

from keras_univrep.few_shot import SUR, NearestCentroid
from tests.few_shot.oracles import adadelta, cosine_logits, cross_entropy, episodes, unit


def blocks() -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Support features of three extractors, labels, and query features; 2 episodes."""
    first = episodes(count=2, channels=4)
    rng = np.random.default_rng(5)
    noise = [rng.normal(size=(2, number, 4)) for number in (12, 6)]
    mixed = [first[0] + 2.0 * noise[0][..., ::-1], first[2] + 2.0 * noise[1][..., ::-1]]
    return [first[0], noise[0], mixed[0]], first[1], [first[2], noise[1], mixed[1]]


def concatenation(features: list[np.ndarray], selection: np.ndarray) -> np.ndarray:
    return np.concatenate([w * unit(x) for x, w in zip(features, selection)], axis=-1)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


@pytest.mark.parametrize("steps, rate", [(0, 1.0), (1, 100.0), (3, 100.0), (2, None)])
def test_the_selection_is_that_of_float64_adadelta_on_central_differences(
    steps: int, rate: float | None
) -> None:
    support, labels, queries = blocks()
    classifier = SUR(rate, steps=steps).fit(np.stack(support, axis=2), labels)
    scores = classifier.scores(np.stack(queries, axis=2))
    for index in range(2):
        x, y = [block[index] for block in support], labels[index]

        def loss(mu: np.ndarray, x: list = x, y: np.ndarray = y) -> float:
            g = concatenation(x, sigmoid(mu))
            return cross_entropy(cosine_logits(g, g, y), y)

        mu = adadelta(loss, np.zeros(3), 3000.0 / 3 if rate is None else rate, steps)
        np.testing.assert_allclose(classifier.selection_[index], sigmoid(mu), atol=1e-4)
        g = [concatenation(list(s), sigmoid(mu)) for s in (x, [b[index] for b in queries])]
        np.testing.assert_allclose(scores[index], cosine_logits(g[1], g[0], y), atol=2e-3)


def test_the_loss_falls_and_the_signal_is_selected_most() -> None:
    support, labels, _ = blocks()
    x = np.stack(support, axis=2)
    losses = []
    for steps in (0, 40):
        classifier = SUR(steps=steps).fit(x, labels)
        scores = classifier.scores(x)
        losses.append(np.mean([cross_entropy(s, y) for s, y in zip(scores, labels)]))
    assert losses[1] < losses[0]
    assert (classifier.selection_.argmax(axis=-1) == 0).all()


def test_a_mapping_is_the_array_and_may_hold_blocks_of_different_channels() -> None:
    support, labels, queries = blocks()
    names = ("a", "b", "c")
    by_name = SUR(10.0, steps=3).fit(dict(zip(names, support)), labels)
    by_axis = SUR(10.0, steps=3).fit(np.stack(support, axis=2), labels)
    np.testing.assert_allclose(
        by_name.scores(dict(zip(names, queries))), by_axis.scores(np.stack(queries, axis=2)),
        atol=1e-5,
    )  # fmt: skip
    uneven = dict(zip(names, support)) | {"b": support[1][..., :2]}
    assert SUR(steps=2).fit(uneven, labels).selection_.shape == (2, 3)


def test_one_extractor_is_the_nearest_centroid_of_unit_vectors() -> None:
    support, labels, queries = blocks()
    actual = SUR().fit({"only": support[0]}, labels).scores({"only": queries[0]})
    expected = NearestCentroid().fit(unit(support[0]), labels).scores(queries[0])
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_a_batch_of_episodes_is_the_episodes_one_by_one() -> None:
    support, labels, _ = blocks()
    x = np.stack(support, axis=2)
    together = SUR(50.0, steps=4).fit(x, labels).selection_
    for index in range(2):
        alone = SUR(50.0, steps=4).fit(x[index], labels[index])
        np.testing.assert_allclose(together[index], alone.selection_, atol=1e-5)
        assert alone.predict(x[index]).shape == (12,)


def test_a_list_of_episodes_of_different_sizes_is_the_episodes_one_by_one() -> None:
    parts = [episodes(1, way, shot, 4, seed=way) for way, shot in ((3, 4), (5, 2))]
    support, labels, queries = ([part[i][0] for part in parts] for i in range(3))
    views = {"a": lambda x: x, "b": lambda x: x[:, ::-1] ** 2}
    together = SUR(steps=4).fit({n: [v(x) for x in support] for n, v in views.items()}, labels)
    scores = together.scores({n: [v(x) for x in queries] for n, v in views.items()})
    for index, x in enumerate(support):
        alone = SUR(steps=4).fit({n: v(x) for n, v in views.items()}, labels[index])
        np.testing.assert_allclose(together.selection_[index], alone.selection_, atol=1e-5)
        expected = alone.scores({n: v(queries[index]) for n, v in views.items()})
        np.testing.assert_allclose(scores[index], expected, atol=1e-4)


def test_the_scale_of_an_extractor_changes_nothing() -> None:
    support, labels, _ = blocks()
    x = np.stack(support, axis=2)
    expected = SUR(50.0, steps=4).fit(x, labels).selection_
    x[:, :, 0] *= 100.0
    np.testing.assert_allclose(SUR(50.0, steps=4).fit(x, labels).selection_, expected, atol=1e-5)


def test_bad_input_is_refused() -> None:
    support, labels, queries = blocks()
    with pytest.raises(ValueError, match="at least one extractor"):
        SUR().fit({}, labels)
    with pytest.raises(ValueError, match="same episodes and samples.*Received"):
        SUR().fit({"a": support[0], "b": support[1][:, :5]}, labels)
    with pytest.raises(ValueError, match=r"features\['b'\]` must be finite"):
        SUR().fit({"a": support[0], "b": np.full((2, 12, 4), np.nan)}, labels)
    with pytest.raises(ValueError, match="extractors, channels"):
        SUR().fit(support[0][0], labels[0])
    classifier = SUR(steps=1).fit({"a": support[0], "b": support[1]}, labels)
    with pytest.raises(ValueError, match="channels of the support set"):
        classifier.predict({"a": queries[0], "c": queries[1]})
    with pytest.raises(ValueError, match="`learning_rate` must be positive"):
        SUR(learning_rate=-1.0)
