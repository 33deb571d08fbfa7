"""`OmniHead` against matrix products in NumPy."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest

from keras_univrep.layers import OmniHead
from keras_univrep.layers.flows import FLOWS
from tests.harness import check_layer, weights_of

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("flow", FLOWS)
def test_owes_what_every_layer_owes(flow: str, tmp_path: pathlib.Path) -> None:
    check_layer(
        OmniHead(keras.layers.Dense(3, name="dense"), name="layer"),
        RNG.normal(size=(5, 4)),
        lambda x, w: x @ w[f"dense_{flow}/kernel"] + w[f"dense_{flow}/bias"],
        tmp_path,
        flow=flow,
    )


def test_heads_start_apart() -> None:
    head = OmniHead(keras.layers.Dense(3, name="dense"), ["pre", "joint"], name="layer")
    head.build((None, 4))
    kernels = weights_of(head)
    assert not np.array_equal(kernels["dense_joint/kernel"], kernels["dense_pre/kernel"])
    assert head.head("joint").count_params() == 15


def test_what_is_no_head_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a Keras layer"):
        OmniHead("dense")
    with pytest.raises(ValueError, match="each once"):
        OmniHead(keras.layers.Dense(3), ["pre", "pre"])
    head = OmniHead(keras.layers.Dense(3), ["pre"])
    with pytest.raises(ValueError, match=r"must be one of \['pre'\]"):
        head(np.zeros((1, 4), "float32"), flow="meta")
