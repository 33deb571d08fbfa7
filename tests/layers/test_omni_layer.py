"""`OmniLayer` against a convolution plus an explicit branch of each flow in NumPy."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import BatchNormalization, OmniLayer
from keras_univrep.layers.flows import FLOWS
from tests import oracles
from tests.harness import Weights, check_layer, randomize, weights_of

RNG = np.random.default_rng(0)
CHANNELS, FILTERS = 4, 6


def make(size: int = 3, **kwargs: object) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(FILTERS, size, name="convolution", **kwargs)


def oracle(x: np.ndarray, w: Weights, flow: str, **window: object) -> np.ndarray:
    """shu2021 eq. 3."""
    kernel, bias = w["convolution/kernel"], w.get("convolution/bias", 0.0)
    y = oracles.convolution(x, kernel, **window)
    if flow != "joint":
        branch = w[f"branch_{flow}/kernel"].reshape(-1, FILTERS)
        y = y + oracles.centre_branch(x, branch, kernel.shape[:-2], **window)
        bias = bias + w.get(f"branch_{flow}/bias", 0.0)
    return y + bias


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize(
    ("size", "window"),
    [
        (3, {"stride": 2, "padding": "same"}),
        (7, {"stride": 2, "padding": "valid"}),
        (1, {"stride": 2, "padding": "valid"}),
        (3, {"dilation": 2, "padding": "same", "groups": 2}),
    ],
)
def test_each_flow_is_the_shared_layer_plus_its_branch(flow: str, size: int, window: dict) -> None:
    keys = {"stride": "strides", "dilation": "dilation_rate"}
    layer = OmniLayer(make(size, **{keys.get(k, k): v for k, v in window.items()}), name="layer")
    x = RNG.normal(size=(2, 9, 8, CHANNELS))
    layer.build(x.shape)
    randomize(layer)
    y = ops.convert_to_numpy(layer(x.astype("float32"), flow=flow))
    np.testing.assert_allclose(y, oracle(x, weights_of(layer), flow, **window), atol=2e-5)
    kernel, bias = layer.merged_weights(flow)
    merged = oracles.convolution(x, kernel.astype("float64"), **window) + bias
    np.testing.assert_allclose(y, merged, atol=2e-5)


def test_owes_what_every_layer_owes(tmp_path: pathlib.Path) -> None:
    check_layer(
        OmniLayer(make(), branch_initializer="glorot_uniform", name="layer"),
        RNG.normal(size=(2, 5, 5, CHANNELS)),
        lambda x, w: oracle(x, w, "meta"),
        tmp_path,
        flow="meta",
    )


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (keras.layers.Dense(5), (3, 4)),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (2, 6, 6, 4)),
        (keras.layers.Conv1D(5, 3, padding="causal"), (2, 6, 4)),
    ],
)
def test_fresh_branches_leave_three_equal_flows_of_any_layer_with_a_kernel(
    layer: keras.Layer, shape: tuple[int, ...]
) -> None:
    x = RNG.normal(size=shape).astype("float32")
    omni = OmniLayer(layer, BatchNormalization(), "relu")
    found = [ops.convert_to_numpy(omni(x, flow=flow, training=True)) for flow in FLOWS]
    assert found[0].min() >= 0 and found[0].max() > 0
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    for flow in FLOWS[1:]:
        omni.branch(flow).kernel.assign(np.ones(omni.branch(flow).kernel.shape))
    assert np.abs(ops.convert_to_numpy(omni(x, flow="pre", training=True)) - found[0]).max() > 1e-3


def test_each_flow_has_its_own_normalisation_and_activation() -> None:
    omni = OmniLayer(
        keras.layers.Dense(3, use_bias=False, name="dense"),
        BatchNormalization(name="norm"),
        keras.layers.PReLU(name="slope"),
        name="layer",
    )
    x = RNG.normal(size=(8, 2)).astype("float32")
    omni.build(x.shape)
    randomize(omni)
    w = weights_of(omni)
    for flow, mark in zip(FLOWS, ("", "_pre", "_meta")):
        kernel = w["dense/kernel"] + (w[f"branch_{flow}/kernel"] if mark else 0.0)
        moments = w[f"norm{mark}/moving_mean"], w[f"norm{mark}/moving_variance"]
        y = oracles.normalization(
            x @ kernel, w[f"norm{mark}/gamma"], w[f"norm{mark}/beta"], moments
        )
        y = np.where(y > 0, y, w[f"slope{mark}/alpha"] * y)
        found = ops.convert_to_numpy(omni(x, flow=flow))
        np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)
    before = ops.convert_to_numpy(omni.normalization("pre").moving_mean)
    omni(x, flow="meta", training=True)
    np.testing.assert_array_equal(
        before, ops.convert_to_numpy(omni.normalization("pre").moving_mean)
    )
    again = OmniLayer.from_config(omni.get_config())
    again.build(x.shape)
    again.set_weights(omni.get_weights())
    np.testing.assert_array_equal(
        ops.convert_to_numpy(again(x, flow="meta")), ops.convert_to_numpy(omni(x, flow="meta"))
    )


def test_what_cannot_have_a_branch_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a keras.layers.Conv1D"):
        OmniLayer(BatchNormalization())
    with pytest.raises(ValueError, match="kernel size must be odd"):
        OmniLayer(make(4))
    layer = OmniLayer(make())
    layer.build((None, 5, 5, CHANNELS))
    with pytest.raises(ValueError, match="`flow` of .* must be one of"):
        layer(np.zeros((1, 5, 5, CHANNELS), "float32"), flow="post")
    with pytest.raises(ValueError, match="Received: flow='joint'"):
        layer.branch("joint")
