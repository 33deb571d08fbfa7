"""Domains come and go in every layer that keeps a part for each, and leave the others alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import (
    DeepAdaptation,
    DomainBatchNormalization,
    DomainCopy,
    ParallelAdapter,
    PiggybackMask,
    SeriesAdapter,
)
from tests.harness import bits, randomize

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 6, 6, 3)).astype("float32")


def convolution() -> keras.layers.Conv2D:
    return keras.layers.Conv2D(4, 3, name="convolution")


BANKS = {
    "parallel": lambda domains: ParallelAdapter(convolution(), domains, name="bank"),
    "low rank": lambda domains: ParallelAdapter(
        convolution(), domains, rank=2, shared=True, name="bank"
    ),
    "series": lambda domains: SeriesAdapter(convolution(), domains, name="bank"),
    "piggyback": lambda domains: PiggybackMask(convolution(), domains, name="bank"),
    "deep adaptation": lambda domains: DeepAdaptation(convolution(), domains, name="bank"),
    "copy": lambda domains: DomainCopy(convolution(), domains, name="bank"),
    "normalisation": lambda domains: DomainBatchNormalization(domains, name="bank"),
}


@pytest.fixture(params=BANKS)
def bank(request: pytest.FixtureRequest) -> keras.layers.Layer:
    layer = BANKS[request.param](["a", "b"])
    layer.build(X.shape)
    randomize(layer)
    return layer


def outputs(bank: keras.layers.Layer, domain: str) -> np.ndarray:
    return ops.convert_to_numpy(bank(X, domain=domain))


def test_a_new_domain_leaves_the_others_bit_for_bit(bank: keras.layers.Layer) -> None:
    before = {domain: outputs(bank, domain) for domain in "ab"}
    bank.add_domain("c")
    assert bank.domains == ("a", "b", "c")
    for variable in bank.part("c").weights:
        variable.assign(variable + 1.0)
    for domain, value in before.items():
        np.testing.assert_array_equal(outputs(bank, domain), value)
    assert not np.array_equal(outputs(bank, "c"), before["a"])


def test_a_domain_may_start_like_another(bank: keras.layers.Layer) -> None:
    bank.add_domain("c", like="b")
    np.testing.assert_array_equal(outputs(bank, "c"), outputs(bank, "b"))


def test_what_is_removed_is_gone(bank: keras.layers.Layer) -> None:
    before, count = outputs(bank, "b"), len(bank.weights)
    own = len(bank.part("a").weights)
    bank.remove_domain("a")
    assert bank.domains == ("b",)
    assert len(bank.weights) == count - own
    np.testing.assert_array_equal(outputs(bank, "b"), before)
    with pytest.raises(ValueError, match=r"\['b'\].*Received: domain='a'"):
        bank(X, domain="a")


def test_a_name_can_change(bank: keras.layers.Layer) -> None:
    before, count = outputs(bank, "a"), len(bank.weights)
    bank.rename_domain("a", "z")
    assert bank.domains == ("b", "z")
    assert len(bank.weights) == count
    np.testing.assert_array_equal(outputs(bank, "z"), before)


def test_late_domains_have_the_paths_of_early_ones(bank: keras.layers.Layer) -> None:
    bank.add_domain("c")
    config = {**bank.get_config(), "domains": ["a", "b", "c"]}
    again = type(bank).from_config(config)
    again.build(X.shape)
    assert list(bits(again)) == list(bits(bank))


def test_domains_may_change_before_there_are_weights() -> None:
    layer = BANKS["series"](["a"])
    layer.add_domain("b")
    layer.remove_domain("a")
    layer.build(X.shape)
    assert layer.domains == ("b",)
    assert len(layer.parts) == 1


def test_a_new_domain_trains() -> None:
    layer = BANKS["parallel"](["a"])
    layer.layer.trainable = False
    layer.build(X.shape)
    layer.add_domain("b")
    entry = keras.Input(X.shape[1:])
    model = keras.Model(entry, layer(entry, domain="b"))
    model.compile(keras.optimizers.SGD(0.1), "mean_squared_error")
    before = bits(layer)
    model.fit(X, np.ones((2, 4, 4, 4)), verbose=0)
    moved = {path for path, value in bits(layer).items() if not np.array_equal(value, before[path])}
    assert moved == {"bank/adapter_b/kernel"}


def test_bad_changes_change_nothing(bank: keras.layers.Layer) -> None:
    before = bits(bank)
    with pytest.raises(ValueError, match="each name once"):
        bank.add_domain("a")
    with pytest.raises(ValueError, match="no '/'"):
        bank.add_domain("c/d")
    with pytest.raises(ValueError, match="Received: domain='x'"):
        bank.add_domain("c", like="x")
    with pytest.raises(ValueError, match="Received: domain='x'"):
        bank.remove_domain("x")
    with pytest.raises(ValueError, match="each name once"):
        bank.rename_domain("a", "b")
    assert bank.domains == ("a", "b")
    assert list(bits(bank)) == list(before)
    bank.remove_domain("a")
    with pytest.raises(ValueError, match="at least one domain"):
        bank.remove_domain("b")


def test_an_unnamed_part_takes_no_others() -> None:
    layer = ParallelAdapter(convolution())
    with pytest.raises(ValueError, match="named domains"):
        layer.add_domain("a")
