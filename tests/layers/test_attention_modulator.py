"""`AttentionModulator` against float64."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import AttentionModulator
from tests import harness
from tests.layers.attention_oracle import encoded_maps, pooled

RNG = np.random.default_rng(0)
TASKS, SAMPLES, SIZE = 2, 5, 3
X = RNG.normal(size=(TASKS, SAMPLES, SIZE))
ALL = np.ones((TASKS, SAMPLES), bool)
LABELS = {
    "classes": (RNG.integers(0, 4, (TASKS, SAMPLES)), 4),
    "vector": (RNG.normal(size=(TASKS, SAMPLES, 2)), 2),
    "map": (RNG.normal(size=(TASKS, SAMPLES, 9, 8, 2)), 2),
}


def make(kind: str, layers: int = 2) -> AttentionModulator:
    layer = AttentionModulator(
        6, layers, units=4, labels=kind, label_size=LABELS[kind][1], name="modulator"
    )
    layer.build(X.shape)
    harness.randomize(layer)
    return layer


def oracle(layer: AttentionModulator, kind: str, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
    weights, labels = harness.weights_of(layer), LABELS[kind][0]
    tokens = labels
    if kind == "classes":
        tokens = np.eye(4)[labels]
    elif kind == "map":
        tokens = encoded_maps(labels, weights)
    kernel, bias = (weights[f"attention/weights/{name}"] for name in ("kernel", "bias"))
    return np.tanh(pooled(x, tokens, weights, mask) @ kernel + bias)


@pytest.mark.parametrize(("kind", "layers"), [("classes", 1), ("vector", 3), ("map", 2)])
def test_weights_are_those_of_float64(kind: str, layers: int) -> None:
    layer = make(kind, layers)
    labels = LABELS[kind][0]
    labels = labels if kind == "classes" else labels.astype("float32")
    found = layer(X.astype("float32"), labels)
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), oracle(layer, kind, X, ALL), rtol=1e-4, atol=1e-5
    )
    mask = ALL.copy()
    mask[1, 2:] = False
    found = layer(X.astype("float32"), labels, mask=mask)
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), oracle(layer, kind, X, mask), rtol=1e-4, atol=1e-5
    )


def test_gradients_round_trips_and_steps() -> None:
    layer = make("vector")
    labels = ops.convert_to_tensor(LABELS["vector"][0].astype("float32"))
    harness.check_gradients(
        layer,
        X,
        lambda x, weights: np.tanh(
            pooled(x, LABELS["vector"][0], weights, ALL) @ weights["attention/weights/kernel"]
            + weights["attention/weights/bias"]
        ),
        1e-3,
        labels=labels,
    )
    harness.check_config(layer)


def test_an_untrained_one_changes_nothing_and_order_does_not_matter() -> None:
    labels, size = LABELS["classes"]
    fresh = AttentionModulator(6, label_size=size)
    found = fresh(X.astype("float32"), labels)
    np.testing.assert_array_equal(ops.convert_to_numpy(found), np.zeros((TASKS, 6)))
    layer, order = make("classes"), RNG.permutation(SAMPLES)
    one = layer(X.astype("float32"), labels)
    other = layer(X[:, order].astype("float32"), labels[:, order])
    np.testing.assert_allclose(
        ops.convert_to_numpy(one), ops.convert_to_numpy(other), rtol=1e-4, atol=1e-6
    )


def test_maps_of_embeddings_are_averaged(tmp_path) -> None:
    layer, (labels, _) = make("classes"), LABELS["classes"]
    maps = RNG.normal(size=(TASKS, SAMPLES, 2, 3, SIZE)).astype("float32")
    found = layer(maps, labels)
    wanted = oracle(layer, "classes", maps.mean((2, 3)).astype("float64"), ALL)
    np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, rtol=1e-4, atol=1e-5)
    entries = keras.Input(X.shape[1:]), keras.Input((SAMPLES,), dtype="int32")
    model = keras.Model(entries, layer(*entries))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [X.astype("float32"), labels.astype("int32")]
    np.testing.assert_array_equal(
        ops.convert_to_numpy(model(inputs)), ops.convert_to_numpy(again(inputs))
    )


def test_what_cannot_be_is_refused() -> None:
    for arguments, name in (
        ({"channels": 0}, "channels"),
        ({"channels": 3, "layers": 0}, "layers"),
        ({"channels": 3, "units": 1.5}, "units"),
        ({"channels": 3, "labels": "words"}, "labels"),
        ({"channels": 3, "label_size": 0}, "label_size"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            AttentionModulator(**arguments)
    layer = AttentionModulator(3, labels="vector", label_size=2)
    for labels in (np.zeros((TASKS, SAMPLES)), np.zeros((TASKS, SAMPLES, 3))):
        with pytest.raises(ValueError, match="Labels of the kind 'vector' must have"):
            layer(X.astype("float32"), labels)
    with pytest.raises(ValueError, match="from 8 pixels on"):
        AttentionModulator(3, labels="map", label_size=1)(
            X.astype("float32"), np.zeros((TASKS, SAMPLES, 4, 8, 1), "float32")
        )
    with pytest.raises(ValueError, match="must be embeddings"):
        layer(X[0].astype("float32"), np.zeros((TASKS, SAMPLES, 2), "float32"))
