"""Training that is killed and started again."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterator

import keras
import numpy as np
import pytest

from keras_univrep.models import UniversalDistiller, resumable_fit
from tests.models import toys

STEPS = 8


class Kill(keras.callbacks.Callback):
    """Stands for a kill in the middle of an epoch."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1


def data(first: int) -> Iterator[tuple]:
    """Endless batches, each with its own number."""
    while True:
        yield toys.batch(first)
        first += 1


def model() -> UniversalDistiller:
    made = toys.distiller(annealing=keras.optimizers.schedules.PolynomialDecay(1.0, STEPS, 0.0))
    made.compile(made.preset_optimizer(STEPS))
    return made


def test_killed_run_ends_as_an_uninterrupted_one(tmp_path: pathlib.Path) -> None:
    whole = model()
    history = resumable_fit(whole, data, STEPS, tmp_path / "whole", steps_per_epoch=2)
    with pytest.raises(KeyboardInterrupt):
        resumable_fit(
            model(), data, STEPS, tmp_path / "killed", steps_per_epoch=2, callbacks=[Kill(5)]
        )
    assert [p.name for p in (tmp_path / "killed").glob("*.h5")] == ["epoch-2.weights.h5"]
    resumed = model()
    rest = resumable_fit(resumed, data, STEPS, tmp_path / "killed", steps_per_epoch=2)
    toys.assert_equal_weights(resumed, whole, rtol=1e-5, atol=1e-6)
    assert int(resumed.step) == STEPS
    np.testing.assert_allclose(rest["loss"], history["loss"][2:], rtol=1e-4)
    logs = [(tmp_path / name / "history.csv").read_text() for name in ("whole", "killed")]
    assert [len(text.splitlines()) for text in logs] == [5, 5]
    assert not list(tmp_path.glob("*/*.h5"))


def test_loss_that_is_no_number_is_an_error_and_is_not_backed_up(tmp_path: pathlib.Path) -> None:
    def poisoned(first: int) -> Iterator[tuple]:
        for x, y in data(first):
            yield {name: value * (math.nan if first >= 2 else 1.0) for name, value in x.items()}, y
            first += 1

    with pytest.raises(RuntimeError, match="finite. Received: loss=nan in epoch 2"):
        resumable_fit(model(), poisoned, STEPS, tmp_path, steps_per_epoch=2)
    assert [p.name for p in tmp_path.glob("*.h5")] == ["epoch-1.weights.h5"]


@pytest.mark.parametrize("steps", [0, -2, 3])
def test_refuses_steps_that_are_no_whole_epochs(steps: int, tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=f"positive multiple.*steps={steps}, steps_per_epoch=2"):
        resumable_fit(model(), data, steps, tmp_path, steps_per_epoch=2)
