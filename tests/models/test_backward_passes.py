"""How often backward passes go through the parts of a network of several tasks."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.models import MultiTaskModel

TASKS = ("a", "b", "c")


class Noted(keras.layers.Layer):
    """Leaves its inputs as they are, and notes each backward pass."""

    passes: list[str] = []  # Of the class, as Keras copies lists of a layer.

    def call(self, inputs: Any) -> Any:
        @ops.custom_gradient
        def same(x: Any) -> tuple[Any, Any]:
            def grad(*args: Any, upstream: Any = None) -> Any:
                Noted.passes.append(self.name)
                return args[0] if upstream is None else upstream

            return x * 1.0, grad

        return same(inputs)


@pytest.mark.parametrize(
    ("balancer", "on"), [("uniform", None), ("pcgrad", None), ("cagrad", "representation")]
)
def test_a_task_goes_around_the_heads_of_the_others(balancer: str, on: str | None) -> None:
    inputs = keras.Input((4,))
    features = keras.layers.Dense(3, name="features")(inputs)
    heads = {task: keras.layers.Dense(2)(Noted(name=task)(features)) for task in TASKS}
    model = MultiTaskModel(keras.Model(inputs, heads), shared="features")
    model.compile("sgd", "mse", balancer=balancer, on=on)
    Noted.passes.clear()
    model.train_on_batch(np.ones((2, 4)), {task: np.zeros((2, 2)) for task in TASKS})
    assert sorted(Noted.passes) == list(TASKS)
