"""`OmniNet` and `OmniFlow`: published sizes, flows against NumPy, which layers, saving."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import MLP, Conv4, OmniFlow, OmniNet, ResNet10, StemPooledResNet
from keras_univrep.layers import BatchNormalization, Conv2D, OmniHead
from keras_univrep.layers.flows import FLOWS
from tests import oracles
from tests.harness import bits, randomize, weights_of

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(3, 8, 8, 2)).astype("float32")


def small(pooled: bool = True) -> keras.Model:
    """Two convolutions with normalisations, functional."""
    x = inputs = keras.Input((8, 8, 2))
    for number, strides in enumerate((1, 2)):
        x = Conv2D(4, 3, strides, padding=1, use_bias=False, name=f"conv{number}")(x)
        x = BatchNormalization(name=f"norm{number}")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
    if pooled:
        x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, x)


def count(network: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


@pytest.mark.parametrize(
    ("make", "plain", "omni"),
    [(StemPooledResNet, 11_176_512, 13_981_376), (ResNet10, 4_905_792, 6_310_336)],
)
def test_every_convolution_and_normalisation_gives_the_published_size(
    make: object, plain: int, omni: int
) -> None:
    trunk = make()
    assert count(trunk) == plain
    assert count(OmniNet(trunk)) == omni


def oracle(x: np.ndarray, w: dict[str, np.ndarray], flow: str, first: int = 0) -> np.ndarray:
    """shu2021 eq. 4 to 6 at inference, with branches from layer `first` on."""
    for number, stride in enumerate((1, 2)):
        own = flow != "joint" and number >= first
        padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
        y = oracles.convolution(padded, w[f"conv{number}/kernel"], stride)
        if own:
            branch = w[f"conv{number}/branch_{flow}/kernel"][0, 0]
            y = y + oracles.centre_branch(padded, branch, (3, 3), stride)
        norm = f"norm{number}/norm{number}_{flow}" if own else f"norm{number}"
        gamma, beta, mean, variance = (
            w[f"{norm}/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        x = np.maximum(oracles.normalization(y, gamma, beta, (mean, variance)), 0.0)
    return x.mean((1, 2))


def named_weights(network: OmniNet) -> dict[str, np.ndarray]:
    """Weights by the name of their layer: of the trunk, then of its banks."""
    found = {}
    for layer in network.trunk.layers:
        for variable in layer.weights:
            found[f"{layer.name}/{variable.name}"] = ops.convert_to_numpy(variable)
    for name, bank in network.banks.items():
        for key, value in weights_of(bank).items():
            # The bank holds the trunk's own layer as well, whose name is its own.
            found[f"{name}/{key.split('/', key.count('/') - 1)[-1]}"] = value
    return {key: value.astype("float64") for key, value in found.items()}


@pytest.mark.parametrize("start", [None, "conv1"])
@pytest.mark.parametrize("pooled", [True, False])
def test_flows_are_those_of_the_paper(start: str | None, pooled: bool) -> None:
    network = OmniNet(small(pooled), start=start)
    randomize(network)
    weights = named_weights(network)
    for flow in FLOWS:
        found = ops.convert_to_numpy(network(IMAGES, flow=flow))
        wanted = oracle(IMAGES.astype("float64"), weights, flow, first=int(start is not None))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    plain = ops.convert_to_numpy(network.trunk(IMAGES))
    joint = ops.convert_to_numpy(network(IMAGES))
    np.testing.assert_allclose(joint, plain if pooled else plain.mean((1, 2)), rtol=1e-5)


def test_fresh_flows_are_equal_and_train_apart() -> None:
    network = OmniNet(Conv4(4, image_size=16, channels=2))
    x = RNG.normal(size=(3, 16, 16, 2)).astype("float32")
    joint, pre, meta = (
        ops.convert_to_numpy(network(x, flow=flow, training=True)) for flow in FLOWS
    )
    np.testing.assert_array_equal(joint, pre)
    np.testing.assert_array_equal(joint, meta)
    head = OmniHead(keras.layers.Dense(2, name="dense"))
    flow = OmniFlow(network, "pre", head)
    before = bits(network)
    flow.compile(keras.optimizers.SGD(0.1), "mse")
    flow.fit(x, np.ones((3, 2), "float32"), 3, verbose=0)
    after = bits(network)
    moved = {path for path in before if not np.array_equal(before[path], after[path])}
    assert not [path for path in moved if "branch_meta" in path or "_meta/" in path]
    assert [path for path in moved if "branch_pre" in path]
    assert [path for path in moved if path.endswith("convolution1/kernel")]
    assert not [path for path in moved if path.endswith("/normalization1/gamma")]
    own = {variable.path for variable in flow.trainable_variables}
    assert moved & {v.path for v in network.trainable_variables} <= own
    assert not [path for path in own if "meta" in path]


def test_which_layers_have_branches() -> None:
    trunk = StemPooledResNet(width=0.0625)
    network = OmniNet(trunk, start="stage4_block1/.*")
    assert network.branched[0] == "stage4_block1/convolution1" and len(network.branched) == 5
    assert len(network.banks) == 2 * 5
    assert OmniNet(trunk, ".*projection").branched[0] == "stage2_block1/projection"
    chosen = OmniNet(trunk, lambda name, layer: layer.kernel_size == (7, 7)).branched
    assert chosen == ("stem",)
    again = OmniNet.from_config(network.get_config())
    assert again.branched == network.branched
    assert [tuple(v.shape) for v in again.weights] == [tuple(v.shape) for v in network.weights]


def test_a_saved_flow_comes_back(tmp_path) -> None:
    flow = OmniFlow(OmniNet(MLP(2, (3,))), "meta", OmniHead(keras.layers.Dense(1)))
    randomize(flow)
    flow.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = RNG.normal(size=(4, 2)).astype("float32")
    found = ops.convert_to_numpy(loaded(x))
    assert found.shape == (4, 1) == tuple(flow.compute_output_spec(keras.Input((2,), 4)).shape)
    np.testing.assert_array_equal(found, ops.convert_to_numpy(flow(x)))


def test_what_cannot_be_is_refused() -> None:
    trunk = small()
    with pytest.raises(TypeError, match="'norm0' can have no branch"):
        OmniNet(trunk, "norm0")
    with pytest.raises(ValueError, match="matches none"):
        OmniNet(trunk, "dense")
    with pytest.raises(ValueError, match="`start` must match"):
        OmniNet(trunk, start="norm0")
    with pytest.raises(ValueError, match="at least one layer"):
        OmniNet(trunk, lambda name, layer: False)
    with pytest.raises(ValueError, match="must be built"):
        OmniNet(keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match="`pooling` must be one of"):
        OmniNet(trunk, pooling="max")
    with pytest.raises(ValueError, match="`flow` of .* must be one of"):
        OmniNet(trunk)(IMAGES, flow="post")
    with pytest.raises(ValueError, match="`flow` of .* must be one of"):
        OmniFlow(OmniNet(trunk), "post")
