"""The linear probe: its objective, its choice of the penalty, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from keras_univrep.evaluation import linear_probe

pytest.importorskip("sklearn")
RNG = np.random.default_rng(0)


def blobs(count: int, noise: float = 0.3, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(count) % 3
    return np.eye(3, channels)[labels] + noise * RNG.normal(size=(count, channels)), labels


def splits(**kwargs: Any) -> dict[str, Any]:
    return {name: blobs(60, **kwargs) for name in ("train", "validation", "test")}


def test_separable_features_are_classified_and_averaged_over_sets() -> None:
    noise = {name: (x, RNG.permutation(y)) for name, (x, y) in splits().items()}
    found = linear_probe({"easy": splits(noise=0.05), "noise": noise})
    assert found["accuracy"]["easy"] == 100.0 and found["accuracy"]["noise"] < 70.0
    assert found["average"] == pytest.approx(np.mean(list(found["accuracy"].values())))
    grid = np.logspace(-1, -5, 9)
    assert all(np.isclose(grid, s).any() for s in found["strength"].values())


def fit(x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    """Minimum of the objective by Newton's steps, in float64: weights (channels + 1, classes)."""
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    size, classes = x.shape[1], int(y.max()) + 1
    penalty = strength * np.diag([1.0] * (size - 1) + [1e-12])
    w = np.zeros((size, classes))
    for _ in range(50):
        p = np.exp(x @ w)
        p /= p.sum(1, keepdims=True)
        gradient = x.T @ (p - np.eye(classes)[y]) + penalty @ w
        hessian = np.zeros((size * classes,) * 2)
        for a in range(classes):
            for b in range(classes):
                curve = p[:, a] * ((a == b) - p[:, b])
                block = (x * curve[:, None]).T @ x + (a == b) * penalty
                hessian[a * size : (a + 1) * size, b * size : (b + 1) * size] = block
        step = np.linalg.lstsq(hessian, gradient.T.ravel(), rcond=None)[0]
        w -= step.reshape(classes, size).T
    return w


@pytest.mark.parametrize("per_sample", [False, True])
def test_accuracy_is_that_of_the_minimum(per_sample: bool, monkeypatch: Any) -> None:
    import sklearn.linear_model

    fitted = []
    original = sklearn.linear_model.LogisticRegression.fit

    def spy(self: Any, x: np.ndarray, y: np.ndarray) -> Any:
        fitted.append((original(self, x, y), x, y))
        return self

    monkeypatch.setattr(sklearn.linear_model.LogisticRegression, "fit", spy)
    data = splits(noise=0.6)
    result = linear_probe({"set": data}, [0.1, 0.001], per_sample=per_sample)
    # Each strength on the training split, and the best one on both.
    assert [len(y) for _, _, y in fitted] == [60, 60, 120]
    model, x, y = fitted[-1]
    strength = result["strength"]["set"] * (len(y) if per_sample else 1)
    w = fit(x, y, strength)
    w -= w.mean(1, keepdims=True)
    np.testing.assert_allclose(model.coef_.T, w[:-1], atol=0.02 * np.abs(w).max())
    x_test, y_test = data["test"]
    right = np.argmax(x_test @ w[:-1] + w[-1], axis=1) == y_test
    assert result["accuracy"]["set"] == pytest.approx(100 * right.mean(), abs=2.0)


def test_strength_is_chosen_on_the_validation_split() -> None:
    # Few samples of many channels: without a penalty it learns the noise.
    data = {
        "train": blobs(12, noise=1.0, channels=40),
        "validation": blobs(300, noise=1.0, channels=40),
        "test": blobs(300, noise=1.0, channels=40),
    }
    scores = {
        s: linear_probe({"a": {**data, "test": data["validation"]}}, [s], refit=False)["average"]
        for s in (100.0, 1e-5)
    }
    best = max(scores, key=scores.__getitem__)
    assert scores[100.0] != scores[1e-5]
    assert linear_probe({"a": data}, [1e-5, 100.0])["strength"]["a"] == best


def test_standardised_features_do_not_depend_on_scale_and_shift() -> None:
    data = splits(noise=0.6)
    moved = {name: (x * [1e-3, 1.0, 1e3] + 5.0, y) for name, (x, y) in data.items()}
    values = [linear_probe({"a": d}, standardize=True)["average"] for d in (data, moved)]
    assert values[0] == pytest.approx(values[1], abs=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test": None}, r"Received: \['train', 'validation'\] for 'a'"),
        ({"test": (np.zeros((2, 3)), np.zeros(3))}, r"\(2, 3\) and \(3,\)"),
        ({"test": (np.full((1, 3), np.nan), np.zeros(1))}, "NaN or infinity in 'test' of 'a'"),
        ({"test": (np.zeros((1, 3)), np.array([7]))}, r"\[7\] besides for 'a'"),
    ],
)
def test_data_that_cannot_be_probed_are_refused(change: dict[str, Any], message: str) -> None:
    data = {name: value for name, value in {**splits(), **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        linear_probe({"a": data})


def test_numbers_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"strengths=\[0.0\]"):
        linear_probe({"a": splits()}, [0.0])
    with pytest.raises(ValueError, match="Received: none"):
        linear_probe({})
