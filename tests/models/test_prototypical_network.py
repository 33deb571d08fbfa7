"""`PrototypicalNetwork` against float64, and trained."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.backbones import Conv4
from keras_univrep.models import PrototypicalNetwork
from tests.models import episodes as toys
from tests.models.toys import assert_equal_weights

W = np.random.default_rng(5).normal(size=(3, 2))


def scores(distance: str, scale: float, weight: np.ndarray, one: toys.Episode, way: int):
    support, queries = (one[f"{part}_images"].astype("float64") @ weight for part in PARTS)
    centres = toys.means(support, one["support_labels"], way)
    if distance == "euclidean":
        found = -((queries[:, None] - centres) ** 2).sum(-1)
    else:
        norms = np.linalg.norm(queries, axis=-1)[:, None] * np.linalg.norm(centres, axis=-1)
        found = queries @ centres.T / np.maximum(norms, 1e-30)
    found = scale * found
    found[:, [k for k in range(way) if not (one["support_labels"] == k).any()]] = -1e9
    return found


PARTS = ("support", "query")


@pytest.mark.parametrize(
    ("distance", "scale", "used"),
    [("euclidean", None, 1.0), ("cosine", None, 10.0), ("cosine", 3.0, 3.0)],
)
def test_scores_and_gradient_are_those_of_the_paper(distance, scale, used) -> None:
    one = toys.episode(0)
    batch = toys.stack(toys.padded(one, 8, 6), toys.padded(toys.episode(1), 8, 6))
    model = PrototypicalNetwork(toys.linear_backbone(W), 4, distance, scale)
    found = ops.convert_to_numpy(model(batch))[0, :4]
    wanted = scores(distance, used, W, one, 4)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)

    x = {key: ops.convert_to_tensor(value) for key, value in one.items()}
    loss, _, (grad,) = backend.gradients(
        lambda: (model.compute_loss(x=x, y_pred=model(x, training=True)), ()),
        model.trainable_variables,
    )

    def oracle(weight: np.ndarray) -> float:
        return toys.cross_entropy(scores(distance, used, weight, one, 4), one["query_labels"])

    np.testing.assert_allclose(float(loss), oracle(W), rtol=1e-5)
    wanted = toys.differences(oracle, W, 1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(grad), wanted, rtol=1e-3, atol=1e-4)


def test_large_features_far_from_zero_keep_their_distances() -> None:
    one = toys.episode(0)
    near = PrototypicalNetwork(toys.linear_backbone(np.eye(3)), 3)(one)
    far = {key: value + 1000 if "images" in key else value for key, value in one.items()}
    found = PrototypicalNetwork(toys.linear_backbone(np.eye(3)), 3)(far)
    np.testing.assert_allclose(ops.convert_to_numpy(found), ops.convert_to_numpy(near), atol=5e-3)


def test_it_learns_and_goes_on_after_saving(tmp_path) -> None:
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(3, 16, 16, 1))

    def images(labels):
        return (patterns[labels] + 2.0 * rng.normal(size=(len(labels), 16, 16, 1))).astype(
            "float32"
        )

    one = {}
    for part, labels in (("support", np.arange(6) % 3), ("query", np.arange(9) % 3)):
        one[f"{part}_images"], one[f"{part}_labels"] = images(labels), labels.astype("int32")
    keras.utils.set_random_seed(0)
    model = PrototypicalNetwork(Conv4(4, 16, 1), 3, "cosine", scale=2.0)
    model.compile(keras.optimizers.Adam(0.01), jit_compile=keras.backend.backend() == "jax")
    batch = toys.stack(one)
    losses = [float(model.train_on_batch(batch)[0]) for _ in range(8)]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    assert_equal_weights(again, model)
    assert again.optimizer.learning_rate == model.optimizer.learning_rate


def test_what_cannot_be_is_refused() -> None:
    backbone = toys.linear_backbone(W)
    with pytest.raises(ValueError, match="`distance` must be one of"):
        PrototypicalNetwork(backbone, 3, "manhattan")
    with pytest.raises(ValueError, match="`scale` must be positive"):
        PrototypicalNetwork(backbone, 3, scale=0.0)
    with pytest.raises(ValueError, match="must be built"):
        PrototypicalNetwork(keras.Sequential([keras.layers.Dense(2)]), 3)
