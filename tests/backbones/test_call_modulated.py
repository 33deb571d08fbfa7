"""Calls with changed activations: what is changed, what is seen, and that nothing remains."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import ResNet18, call_modulated, film_layers
from tests.backbones import trunks
from tests.harness import randomize

RNG = np.random.default_rng(0)


def images(size: int = 16) -> np.ndarray:
    return RNG.normal(size=(2, size, size, 3)).astype("float32")


def resnet() -> ResNet18:
    network = ResNet18(width=0.0625)
    randomize(network)
    return network


def test_without_a_change_it_is_the_network() -> None:
    for network, size in ((resnet(), 16), (trunks.functional(), trunks.SIZE)):
        x = images(size)
        seen: list[str] = []

        def after(name: str, outputs: object, seen: list[str] = seen) -> object:
            seen.append(name)
            return outputs

        names = film_layers(network)
        features = call_modulated(network, x, names, after)
        expected = ops.convert_to_numpy(network(x))
        np.testing.assert_array_equal(ops.convert_to_numpy(features), expected)
        # The plain call above went past it.
        assert seen == names


def test_the_change_is_where_it_is_said_to_be() -> None:
    network = resnet()
    x = images()
    names = film_layers(network)
    changed = call_modulated(
        network, x, names, lambda name, y: 3.0 * y + 1.0 if name == names[-2] else y
    )
    layer = network.blocks[-1].unit1.normalization
    for variable, factor, shift in ((layer.gamma, 3.0, 0.0), (layer.beta, 3.0, 1.0)):
        variable.assign(factor * variable + shift)
    expected = ops.convert_to_numpy(network(x))
    np.testing.assert_allclose(ops.convert_to_numpy(changed), expected, rtol=1e-4, atol=1e-4)


def test_before_sees_what_enters_the_block() -> None:
    network = resnet()
    x = images()
    entered: dict[str, np.ndarray] = {}
    names = ["stage1_block1/unit2/normalization", "stage1_block2/unit1/normalization"]
    call_modulated(
        network,
        x,
        names,
        lambda name, y: y,
        lambda name, inputs: entered.update({name: ops.convert_to_numpy(inputs)}),
    )
    stem = ops.relu(network.stem(x))
    np.testing.assert_array_equal(entered[names[0]], ops.convert_to_numpy(stem))
    np.testing.assert_array_equal(entered[names[1]], ops.convert_to_numpy(network.blocks[0](stem)))


def test_before_sees_what_enters_a_layer_of_a_flat_network() -> None:
    network = trunks.functional()
    order: list[tuple[str, str]] = []

    def note(kind: str, value: object = None) -> object:
        return lambda name, x: order.append((kind, name)) or x

    call_modulated(network, images(trunks.SIZE), ["bn1", "bn2"], note("after"), note("before"))
    assert order == [("before", "bn1"), ("after", "bn1"), ("before", "bn2"), ("after", "bn2")]


def test_an_error_leaves_the_network_as_it_was() -> None:
    network = resnet()
    x = images()
    expected = ops.convert_to_numpy(network(x))

    def fail(name: str, outputs: object) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        call_modulated(network, x, film_layers(network), fail)
    np.testing.assert_array_equal(ops.convert_to_numpy(network(x)), expected)


def test_maps_are_averaged() -> None:
    network = trunks.functional(pooled=False)
    x = images(trunks.SIZE)
    features = call_modulated(network, x, film_layers(network), lambda name, y: y)
    expected = ops.convert_to_numpy(network(x)).mean(axis=(1, 2))
    np.testing.assert_allclose(ops.convert_to_numpy(features), expected, atol=1e-6)


def test_layers_are_chosen_by_the_network_or_by_expressions() -> None:
    network = resnet()
    names = film_layers(network)
    assert len(names) == 16
    assert not [name for name in names if "stem" in name or "projection" in name]
    assert film_layers(network, ".*projection.*") == [
        f"stage{stage}_block1/projection/normalization" for stage in (2, 3, 4)
    ]
    assert film_layers(trunks.functional()) == ["bn1", "bn2"]
    with pytest.raises(ValueError, match="must match a normalisation .* Received: 'nothing'"):
        film_layers(network, "nothing")
    with pytest.raises(ValueError, match=r"Received: \['bn9'\]"):
        call_modulated(network, images(), ["bn9"], lambda name, y: y)
