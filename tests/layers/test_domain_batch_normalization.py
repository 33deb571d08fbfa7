"""`DomainBatchNormalization` against normalisation by domain in NumPy."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import BatchNormalization, DomainBatchNormalization
from tests.harness import Weights, bits, check_config, check_layer, randomize
from tests.oracles import normalization

RNG = np.random.default_rng(0)
DOMAINS = ["a", "b"]


def oracle(x: np.ndarray, w: Weights, domain: str = "b", training: bool = False) -> np.ndarray:
    gamma, beta, mean, variance = (
        w[f"normalization_{domain}/{name}"]
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return normalization(x, gamma, beta, None if training else (mean, variance))


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3, 3)])
@pytest.mark.parametrize("training", [False, True])
def test_owes_what_every_layer_owes(
    training: bool, shape: tuple[int, ...], tmp_path: pathlib.Path
) -> None:
    check_layer(
        DomainBatchNormalization(DOMAINS, name="layer"),
        RNG.normal(1.0, 2.0, size=shape),
        lambda x, w: oracle(x, w, training=training),
        tmp_path,
        domain="b",
        training=training,
    )


def test_equals_a_plain_normalisation_for_one_domain() -> None:
    x = RNG.normal(1.0, 2.0, size=(4, 5, 5, 3)).astype("float32")
    layer, plain = DomainBatchNormalization(["a"]), BatchNormalization()
    for training in (True, False):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(layer(x, training=training)),
            ops.convert_to_numpy(plain(x, training=training)),
        )


def test_training_moves_the_statistics_of_its_domain_only() -> None:
    x = RNG.normal(2.0, 3.0, size=(4, 5, 5, 3))
    layer = DomainBatchNormalization(DOMAINS, name="layer")
    layer.build(x.shape)
    before = bits(layer)
    layer(x.astype("float32"), domain="a", training=True)
    moved = {path for path, value in bits(layer).items() if not np.array_equal(value, before[path])}
    assert moved == {f"layer/normalization_a/moving_{name}" for name in ("mean", "variance")}
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.normalization("a").moving_mean),
        0.1 * x.mean((0, 1, 2)),
        rtol=1e-4,
    )


def test_parameters_of_one_domain_leave_the_others_bit_for_bit() -> None:
    x = RNG.normal(size=(4, 5, 5, 3)).astype("float32")
    layer = DomainBatchNormalization(DOMAINS)
    layer.build(x.shape)
    randomize(layer)
    before = {domain: ops.convert_to_numpy(layer(x, domain=domain)) for domain in DOMAINS}
    layer.normalization("a").gamma.assign([7.0, 8.0, 9.0])
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x, domain="b")), before["b"])
    assert not np.allclose(ops.convert_to_numpy(layer(x, domain="a")), before["a"])


def test_momentum_and_epsilon_reach_every_domain() -> None:
    layer = DomainBatchNormalization(DOMAINS, momentum=0.5, epsilon=0.1)
    layer.build((None, 3))
    for domain in DOMAINS:
        part = layer.normalization(domain)
        assert (part.momentum, part.epsilon) == (0.5, 0.1)
    check_config(layer)
    assert (layer.get_config()["momentum"], layer.get_config()["epsilon"]) == (0.5, 0.1)


def test_domains_are_required() -> None:
    with pytest.raises(ValueError, match="at least one name.*domains=None"):
        DomainBatchNormalization(None)


@pytest.mark.parametrize("domain", [None, "c"])
def test_unknown_domains_are_refused_with_the_known_ones(domain: str | None) -> None:
    layer = DomainBatchNormalization(DOMAINS)
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*Received: domain="):
        layer(np.ones((2, 3), "float32"), domain=domain)
