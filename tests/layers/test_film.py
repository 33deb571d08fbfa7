"""`FiLM`: scales and shifts of the call, for the batch or for each episode."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import FiLM
from tests.harness import check_config

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 3, 4, 5)).astype("float32")
GAMMA, BETA = (RNG.normal(size=(2, 5)).astype("float32") for _ in range(2))


def of_sample(values: np.ndarray) -> np.ndarray:
    """(episodes, channels) repeated for the samples of each episode, ready to broadcast."""
    return np.repeat(values, len(X) // len(values), axis=0)[:, None, None].astype("float64")


def test_one_pair_serves_the_batch() -> None:
    expected = GAMMA[0].astype("float64") * X + BETA[0]
    np.testing.assert_allclose(
        ops.convert_to_numpy(FiLM()(X, GAMMA[0], BETA[0])), expected, atol=1e-6
    )


@pytest.mark.parametrize("episodes", [1, 2, 6])
def test_each_episode_has_its_own_pair(episodes: int) -> None:
    gamma, beta = (RNG.normal(size=(episodes, 5)).astype("float32") for _ in range(2))
    expected = of_sample(gamma) * X + of_sample(beta)
    np.testing.assert_allclose(ops.convert_to_numpy(FiLM()(X, gamma, beta)), expected, atol=1e-6)


def test_vectors_are_modulated_like_maps() -> None:
    actual = ops.convert_to_numpy(FiLM()(X[:, 0, 0], GAMMA, BETA))
    expected = (of_sample(GAMMA) * X + of_sample(BETA))[:, 0, 0]
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_gradients_are_those_of_a_product_and_a_sum() -> None:
    layer = FiLM()
    cotangent = RNG.normal(size=X.shape).astype("float32")
    _, _, pullback = backend.vjp(
        lambda x, gamma, beta: (layer(x, gamma, beta), None),
        [],
        [ops.convert_to_tensor(value) for value in (X, GAMMA, BETA)],
    )
    _, gradients = pullback(ops.convert_to_tensor(cotangent))
    grouped = cotangent.reshape(2, -1, 5).astype("float64")
    expected = (
        of_sample(GAMMA) * cotangent,
        (grouped * X.reshape(2, -1, 5)).sum(axis=1),
        grouped.sum(axis=1),
    )
    for actual, value in zip(gradients, expected):
        np.testing.assert_allclose(ops.convert_to_numpy(actual), value, atol=1e-4)


def test_a_saved_network_that_holds_it_gives_the_same(tmp_path: pathlib.Path) -> None:
    check_config(FiLM(name="film"))
    entries = [keras.Input((3, 4, 5)), keras.Input((5,)), keras.Input((5,))]
    model = keras.Model(entries, FiLM()(*entries))
    assert model.output_shape == (None, 3, 4, 5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    inputs = [X, np.repeat(GAMMA, 3, axis=0), np.repeat(BETA, 3, axis=0)]
    expected = of_sample(GAMMA) * X + of_sample(BETA)
    np.testing.assert_allclose(loaded.predict(inputs, verbose=0), expected, atol=1e-6)


def test_half_precision_stays_so() -> None:
    y = FiLM(dtype="mixed_bfloat16")(X, GAMMA, BETA)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"


@pytest.mark.parametrize(
    ("gamma", "beta"), [((2, 5), (5,)), ((4,), (4,)), ((4, 5), (4, 5)), ((2, 1, 5), (2, 1, 5))]
)
def test_other_shapes_are_refused(gamma: tuple[int, ...], beta: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Received: inputs \(6, 3, 4, 5\), gamma"):
        FiLM()(X, np.ones(gamma, "float32"), np.ones(beta, "float32"))
