"""`optimal_channel_weights`: gradient steps against NumPy, and what it refuses."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.models import optimal_channel_weights
from tests.models.test_multi_task_meta_learner import LOSSES, batch, make


def compiled(**arguments: object):
    model = make(**arguments)
    model.compile(keras.optimizers.SGD(0.1), LOSSES)
    return model


@pytest.mark.parametrize("inner", [0, 2])
def test_weights_follow_the_loss_of_all_samples_from_zero(inner: int) -> None:
    model, data = compiled(), batch()
    model.steps = inner
    rate = 1e-2
    (found,) = optimal_channel_weights(model, data, steps=1, learning_rate=rate).values()
    assert tuple(found.shape) == (3, 4)
    # One step from zero is minus the rate times the gradient: by central differences.
    layers = [model.backbone.get_layer("dense"), model.backbone.get_layer("norm"), model.heads[0]]
    dense, norm, start = (
        [value.astype("float64") for value in layer.get_weights()] for layer in layers
    )
    (kernel, bias), (scale, shift) = dense, norm[:2]
    epsilon = model.backbone.get_layer("norm").epsilon

    def features(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        z = x @ kernel + bias
        z = (z - z.mean(0)) / np.sqrt(z.var(0) + epsilon) * scale + shift
        return np.tanh(z * (1 - w))

    def adapted(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        head, offset = start
        for _ in range(inner):
            seen = features(x, np.zeros(4))
            error = 2 * (seen @ head + offset - y) / y.size
            head, offset = head - 0.3 * seen.T @ error, offset - 0.3 * error.sum(0)
        return [head, offset]

    for task in range(3):
        support, query = (
            [data["bend"][part][i][task] for i in range(2)] for part in ("support", "query")
        )
        x, y = (np.concatenate(pair) for pair in zip(support, query, strict=True))
        head, offset = adapted(*support)
        losses = [
            [np.mean((features(x, w) @ head + offset - y) ** 2) for w in sign * 1e-5 * np.eye(4)]
            for sign in (1, -1)
        ]
        gradient = np.subtract(*losses) / 2e-5
        np.testing.assert_allclose(ops.convert_to_numpy(found[task]), -rate * gradient, atol=1e-5)


def test_more_steps_lower_the_loss_that_they_follow() -> None:
    model, data = compiled(), batch()
    weights = [
        np.abs(ops.convert_to_numpy(optimal_channel_weights(model, data, steps, 0.1)["bend"]))
        for steps in (1, 5)
    ]
    assert (weights[1].sum(-1) > weights[0].sum(-1)).all()


def test_what_cannot_be_found_is_refused() -> None:
    model, data = compiled(), batch()
    with pytest.raises(ValueError, match="`steps` must be at least 1"):
        optimal_channel_weights(model, data, steps=0)
    with pytest.raises(ValueError, match="must have targets"):
        bend = {"support": data["bend"]["support"], "query": data["bend"]["query"][:1]}
        optimal_channel_weights(model, {"bend": bend})
    with pytest.raises(ValueError, match="must be compiled and have a modulator"):
        optimal_channel_weights(compiled(kind=None), data)
    with pytest.raises(ValueError, match="must be compiled"):
        optimal_channel_weights(make(), data)
