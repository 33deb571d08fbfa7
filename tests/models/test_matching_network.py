"""`MatchingNetwork` against float64."""

import numpy as np
import pytest
from keras import ops

from keras_univrep.models import MatchingNetwork
from tests.models import episodes as toys

W = np.random.default_rng(5).normal(size=(3, 2))


def scores(one: toys.Episode, way: int, scale: float) -> np.ndarray:
    """Vinyals et al. 2016 eq. 1."""
    support, queries = (
        one[f"{part}_images"].astype("float64") @ W for part in ("support", "query")
    )
    support /= np.linalg.norm(support, axis=-1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=-1, keepdims=True)
    odds = np.exp(scale * queries @ support.T)
    attention = odds / odds.sum(-1, keepdims=True)
    found = np.log(attention @ np.eye(way)[one["support_labels"]] + 1e-6)
    found[:, [k for k in range(way) if not (one["support_labels"] == k).any()]] = -1e9
    return found


def test_scores_are_the_attention_of_the_paper_and_padding_gets_none() -> None:
    one = toys.episode(0)
    model = MatchingNetwork(toys.linear_backbone(W), 4, scale=3.0)
    wanted = scores(one, 4, 3.0)
    np.testing.assert_allclose(ops.convert_to_numpy(model(one)), wanted, rtol=1e-4, atol=1e-5)
    batch = toys.stack(toys.padded(one, 8, 6), toys.padded(toys.episode(1), 8, 6))
    found = ops.convert_to_numpy(model(batch))[0, :4]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    again = MatchingNetwork.from_config(model.get_config())
    assert again.scale == 3.0 and again.way == 4


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`scale` must be positive"):
        MatchingNetwork(toys.linear_backbone(W), 3, scale=0.0)
