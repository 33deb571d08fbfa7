"""`GraphNetwork` against float64, its size, and padding."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.models import GraphNetwork, graph_network
from tests.models import episodes as toys

W = np.random.default_rng(5).normal(size=(3, 2))


def values(unit: keras.Layer) -> list[np.ndarray]:
    return [ops.convert_to_numpy(v).astype("float64") for v in unit.weights]


def dense(unit: keras.Layer, x: np.ndarray) -> np.ndarray:
    """A dense layer, normalised over all but the channels where it has a scale."""
    kernel, bias, *affine = values(unit)
    x = x @ kernel + bias
    if not affine:
        return x
    axes = tuple(range(x.ndim - 1))
    gamma, beta = affine
    return gamma * (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5) + beta


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.01 * x)


def oracle(model: GraphNetwork, one: toys.Episode) -> np.ndarray:
    """Garcia and Bruna 2018 eq. 2 to 4; the graphs of all queries are one batch."""
    support, queries = one["support_images"], one["query_images"]
    features = dense(model.projection, np.concatenate([support, queries]).astype("float64") @ W)
    labels = np.eye(model.way)[one["support_labels"]]
    known = np.concatenate([features[: len(support)], labels], axis=-1)
    asked = np.concatenate([features[len(support) :], np.zeros((len(queries), model.way))], axis=-1)
    nodes = np.stack([np.concatenate([known, query[None]]) for query in asked])
    for number, node in enumerate(model.nodes):
        x = np.abs(nodes[:, :, None] - nodes[:, None])
        for unit in model.edges[number][:-1]:
            x = leaky(dense(unit, x))
        scores = dense(model.edges[number][-1], x)[..., 0]
        scores[:, np.arange(len(known) + 1), np.arange(len(known) + 1)] = -np.inf
        odds = np.exp(scores - scores.max(-1, keepdims=True))
        adjacency = odds / odds.sum(-1, keepdims=True)
        both = np.concatenate([nodes, adjacency @ nodes], axis=-1)
        found = dense(node, both)
        nodes = np.concatenate([nodes, leaky(found)], axis=-1)
    return found[:, -1]


def make(way: int = 3) -> GraphNetwork:
    keras.utils.set_random_seed(0)
    return GraphNetwork(toys.linear_backbone(W), way, channels=4)


@pytest.fixture
def small(monkeypatch) -> None:
    """Fewer and smaller layers, as each shape is compiled."""
    monkeypatch.setattr(graph_network, "EDGES", (5, 5))
    monkeypatch.setattr(graph_network, "NODES", 5)
    monkeypatch.setattr(graph_network, "LAYERS", 1)


@pytest.mark.usefixtures("small")
def test_scores_are_those_of_the_graphs() -> None:
    model, one = make(), toys.episode(0)
    wanted = oracle(model, one)
    np.testing.assert_allclose(ops.convert_to_numpy(model(one)), wanted, rtol=2e-3, atol=2e-4)
    # As many graphs, of another episode, in one batch.
    assert tuple(model(toys.stack(one, one)).shape) == (2, 4, 3)
    again = GraphNetwork.from_config(model.get_config())
    assert again.channels == 4 and again.way == 3


def test_the_head_has_the_size_of_the_code() -> None:
    inputs = keras.Input((512,))
    backbone = keras.Model(inputs, keras.layers.Identity()(inputs))
    model = GraphNetwork(backbone, 5)
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 401_914


@pytest.mark.usefixtures("small")
def test_it_learns() -> None:
    model = make()
    model.compile(keras.optimizers.Adam(0.01), jit_compile=keras.backend.backend() == "jax")
    batch = toys.stack(toys.episode(0))
    losses = [float(model.train_on_batch(batch)[0]) for _ in range(8)]
    assert losses[-1] < 0.8 * losses[0]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`channels` must be a positive integer"):
        GraphNetwork(toys.linear_backbone(W), 3, channels=0)
