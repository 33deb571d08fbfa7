"""`RelationNetwork` against float64, and trained."""

import keras
import numpy as np
from keras import ops

from keras_univrep.models import RelationNetwork
from tests.models import episodes as toys

W = np.random.default_rng(5).normal(size=(3, 2))


def test_scores_are_those_of_the_comparison() -> None:
    backbone = toys.linear_backbone(W)
    model = RelationNetwork(backbone, 4, hidden=5)
    one = toys.episode(0)
    hidden, score = (
        [ops.convert_to_numpy(v).astype("float64") for v in layer.weights]
        for layer in model.relation
    )
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
    assert again.hidden == 5


def test_it_learns() -> None:
    backbone = toys.linear_backbone(W)
    keras.utils.set_random_seed(0)
    model = RelationNetwork(backbone, 3, hidden=16)
    model.compile(keras.optimizers.Adam(0.05), jit_compile=keras.backend.backend() == "jax")
    batch = toys.stack(toys.episode(0))
    losses = [float(model.train_on_batch(batch)[0]) for _ in range(10)]
    assert losses[-1] < 0.8 * losses[0]
