"""`RelationNetwork` against float64, on vectors and on maps, and trained."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import OmniNet
from keras_univrep.models import OmniTraining, RelationNetwork
from tests import oracles
from tests.harness import randomize
from tests.models import episodes as toys

W = np.random.default_rng(5).normal(size=(3, 2))
JIT = keras.backend.backend() == "jax"


def float64(layer: keras.layers.Layer) -> list[np.ndarray]:
    return [ops.convert_to_numpy(v).astype("float64") for v in layer.weights]


def pictures(size: int, seed: int = 0) -> toys.Episode:
    """An episode of two classes of images (size, size, 1), bright and dark."""
    rng = np.random.default_rng(seed)
    found = {}
    for part, labels in (("support", [0, 0, 1]), ("query", [1, 0])):
        own = np.array(labels, "int32")
        images = own[:, None, None, None] + 0.5 * rng.normal(size=(len(own), size, size, 1))
        found |= {f"{part}_images": images.astype("float32"), f"{part}_labels": own}
    return found


def mapping(size: int) -> keras.Model:
    """Images times a number for each of two channels of a map of their size."""
    inputs = keras.Input((size, size, 1))
    layer = keras.layers.Dense(2, use_bias=False)
    model = keras.Model(inputs, layer(inputs))
    layer.kernel.assign([[1.0, -2.0]])
    return model


def test_scores_are_those_of_the_comparison() -> None:
    backbone = toys.linear_backbone(W)
    model = RelationNetwork(backbone, 4, hidden=5)
    one = toys.episode(0)
    hidden, score = (float64(layer) for layer in model.relation)
    support, queries = (
        one[f"{part}_images"].astype("float64") @ W for part in ("support", "query")
    )
    centres = toys.means(support, one["support_labels"], 4)
    wanted = np.full((4, 4), -1e9)
    for q, query in enumerate(queries):
        for k in range(3):
            pair = np.concatenate([centres[k], query])
            inner = np.maximum(pair @ hidden[0] + hidden[1], 0.0)
            wanted[q, k] = (inner @ score[0] + score[1])[0]
    np.testing.assert_allclose(ops.convert_to_numpy(model(one)), wanted, rtol=1e-4, atol=1e-5)
    again = RelationNetwork.from_config(model.get_config())
    assert again.hidden == 5 and again.map_size is None


def published(model: RelationNetwork, pair: np.ndarray, border: int) -> float:
    """The relation module of Sung et al., 2018, at inference, of one pair (1, h, w, channels)."""
    x = pair
    for place in (0, 2):
        kernel, bias = float64(model.relation[place])
        gamma, beta, mean, variance = float64(model.relation[place + 1])
        x = np.pad(x, [(0, 0), (border, border), (border, border), (0, 0)])
        x = oracles.convolution(x, kernel) + bias
        x = np.maximum(oracles.normalization(x, gamma, beta, (mean, variance)), 0.0)
        h, w = (side // 2 for side in x.shape[1:3])
        x = x[:, : 2 * h, : 2 * w].reshape(1, h, 2, w, 2, -1).max(axis=(2, 4))
    (kernel, bias), (score, offset) = (float64(layer) for layer in model.relation[-2:])
    return (np.maximum(x.reshape(-1) @ kernel + bias, 0.0) @ score + offset)[0]


# Small maps are padded; large ones are not.
@pytest.mark.parametrize(("size", "border", "values"), [(5, 1, 64), (14, 0, 256)])
def test_maps_are_compared_by_the_published_module(size: int, border: int, values: int) -> None:
    model = RelationNetwork(mapping(size), 3)
    for seed, layer in enumerate(model.relation):
        randomize(layer, seed)
    assert model.map_size == (size, size)
    assert [int(np.prod(layer.weights[0].shape)) for layer in model.relation] == [
        9 * 4 * 64, 64, 9 * 64 * 64, 64, values * 8, 8
    ]  # fmt: skip
    episodes = [pictures(size, seed) for seed in range(2)]
    found = ops.convert_to_numpy(model(toys.stack(*episodes)))
    for scores, one in zip(found, episodes):
        support, queries = (
            one[f"{part}_images"].astype("float64") * [1.0, -2.0] for part in ("support", "query")
        )
        centres = [support[one["support_labels"] == k].mean(axis=0) for k in range(2)]
        wanted = [
            [published(model, np.concatenate([c, query], -1)[None], border) for c in centres]
            for query in queries
        ]
        np.testing.assert_allclose(scores[:, :2], wanted, atol=1e-4 * np.abs(wanted).max())
        np.testing.assert_array_equal(scores[:, 2], np.float32(-1e9))


def test_squared_errors_are_those_of_scores_between_0_and_1() -> None:
    model = RelationNetwork(toys.linear_backbone(W), 4, objective="squared_error")
    one = toys.padded(toys.episode(0), 6, 6)
    logits = ops.convert_to_numpy(model(one)).astype("float64")
    labels = one["query_labels"]
    errors = [
        # Three of four classes are in the episode.
        np.mean([(1 / (1 + np.exp(-row[k])) - (k == label)) ** 2 for k in range(3)])
        for row, label in zip(logits, labels)
        if label >= 0
    ]
    loss = model.compute_loss(x=one, y_pred=ops.convert_to_tensor(logits.astype("float32")))
    np.testing.assert_allclose(float(loss), np.mean(errors), rtol=1e-5)
    wrong = {**one, "query_labels": np.full_like(labels, 4)}
    assert np.isnan(float(model.compute_loss(x=wrong, y_pred=ops.convert_to_tensor(logits))))
    assert RelationNetwork.from_config(model.get_config()).objective == "squared_error"


@pytest.mark.parametrize("objective", ["cross_entropy", "squared_error"])
def test_it_learns(objective: str) -> None:
    backbone = toys.linear_backbone(W)
    keras.utils.set_random_seed(0)
    model = RelationNetwork(backbone, 3, hidden=16, objective=objective)
    model.compile(keras.optimizers.Adam(0.05), jit_compile=JIT)
    batch = toys.stack(toys.episode(0))
    losses = [float(model.train_on_batch(batch)[0]) for _ in range(10)]
    assert losses[-1] < 0.8 * losses[0]


def test_omni_training_compares_maps_on_the_meta_flows() -> None:
    keras.utils.set_random_seed(0)
    network = OmniNet(mapping(4), pooling=None)
    options = {"way": 2, "map_size": [4, 4], "objective": "squared_error"}
    model = OmniTraining(
        network, None, "relation", options, losses=["joint", "meta"], joint_terms=["meta"],
        distilled=[],
    )  # fmt: skip
    model.compile(keras.optimizers.Adam(0.003), jit_compile=JIT)
    item = {"episode": pictures(4)}
    losses = []
    for _ in range(6):
        losses.append(float(model.train_on_batch(item, return_dict=True)["loss"]))
        model.reset_metrics()
    assert losses[-1] < 0.5 * losses[0]
    # The moving moments of the relation module move in training.
    normalization = model.learners["meta"].relation[1]
    assert np.abs(ops.convert_to_numpy(normalization.moving_mean)).max() > 0.0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`objective` must be one of .* objective='hinge'"):
        RelationNetwork(toys.linear_backbone(W), 2, objective="hinge")
    with pytest.raises(ValueError, match=r"at least 4, .* Received: map_size=\(2, 2\)"):
        RelationNetwork(mapping(2), 2)
    # It does not say what it returns.
    silent = OmniNet(mapping(4), pooling=None)
    with pytest.raises(ValueError, match=r"must return vectors .* map_size=None"):
        RelationNetwork(silent, 2)(pictures(4))
    with pytest.raises(ValueError, match=r"must return maps .* map_size=\(5, 5\)"):
        RelationNetwork(silent, 2, map_size=(5, 5))(pictures(4))
