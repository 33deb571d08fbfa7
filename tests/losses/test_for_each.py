"""One loss for several domains at once: each has the value and the gradient that it has alone."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend, losses
from keras_univrep.losses.for_each import for_each

RNG = np.random.default_rng(0)


def batch(count: int = 8, channels: int = 4) -> np.ndarray:
    # 28 pairs: of an odd number the lower median is the upper one as well.
    return RNG.normal(size=(count, channels)).astype("float32")


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    found = {name: (batch(), batch()) for name in "abc"}
    found["wider"] = (batch(8, 5), batch(8, 5))
    found["longer"] = (batch(7), batch(7))
    # Repeated images, and a batch in which all are equal.
    found["b"] = (found["b"][0], np.repeat(batch(2), 4, axis=0))
    found["c"] = (found["c"][0], np.ones((8, 4), "float32"))
    return found


@pytest.mark.parametrize(
    "loss",
    [
        losses.CKA(),
        losses.CKA(normalize=False),
        losses.CKA(kernel="linear"),
        losses.KLDistillation(4.0),
        losses.NormalizedL2(),
        losses.CosineDistance(),
        losses.KLDistillation(reduction="sum"),
    ],
    ids=["rbf", "plain", "linear", "kl", "l2", "cosine", "sum"],
)
def test_values_and_gradients_are_those_of_each_domain_alone(loss: Any) -> None:
    data = pairs()
    students = [student for _, student in data.values()]
    # Different factors, so that no domain's gradient can stand in for another's.
    factors = dict(zip(data, (1.0, 2.0, -1.0, 3.0, 0.5), strict=True))

    def tensors(values: list[Any]) -> dict[str, Any]:
        teachers = (ops.convert_to_tensor(teacher) for teacher, _ in data.values())
        return dict(zip(data, zip(teachers, values, strict=True), strict=True))

    def together(values: list[Any]) -> tuple[Any, Any]:
        found = for_each(loss, tensors(values))
        return sum(factors[n] * v for n, v in found.items()), list(found.values())

    def alone(values: list[Any]) -> tuple[Any, Any]:
        found = {name: loss(*pair) for name, pair in tensors(values).items()}
        return sum(factors[n] * v for n, v in found.items()), list(found.values())

    (_, ours), our_gradients = backend.value_and_grad(together, students)
    (_, theirs), their_gradients = backend.value_and_grad(alone, students)
    for one, two in ((ours, theirs), (our_gradients, their_gradients)):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(
                ops.convert_to_numpy(a), ops.convert_to_numpy(b), rtol=1e-4, atol=1e-6
            )


def test_a_loss_of_ones_own_is_called_for_each_domain() -> None:
    called = []

    def loss(teacher: Any, student: Any) -> Any:
        called.append(tuple(teacher.shape))
        return ops.mean(student) - ops.mean(teacher)

    found = for_each(
        loss,
        {"a": (ops.zeros((3, 2)), ops.ones((3, 2)))}
        | {"b": (ops.zeros((3, 2)), 2 * ops.ones((3, 2)))},
    )
    assert called == [(3, 2), (3, 2)]
    assert {name: float(value) for name, value in found.items()} == {"a": 1.0, "b": 2.0}


def test_large_batches_are_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    class Counted(losses.KLDistillation):
        pass

    original = losses.KLDistillation.call
    monkeypatch.setattr(
        losses.KLDistillation, "call", lambda *a: (calls.append(len(a[1])), original(*a))[1]
    )
    for count, expected in ((64, [2]), (65, [65, 65])):
        calls.clear()
        for_each(losses.KLDistillation(), {n: (batch(count), batch(count)) for n in "ab"})
        assert calls == expected
    calls.clear()
    for_each(Counted(), {n: (batch(), batch()) for n in "ab"})
    assert calls == [8, 8]


def test_a_diverged_network_is_seen() -> None:
    bad = batch()
    bad[2, 1] = np.nan
    found = for_each(losses.CKA(), {"a": (batch(), bad), "b": (batch(), batch())})
    assert np.isnan(float(found["a"])) and np.isfinite(float(found["b"]))
    assert keras.backend.standardize_dtype(found["b"].dtype) == "float32"
