"""Which layers can be adapted, and which a placement chooses."""

from __future__ import annotations

import keras
import pytest

from keras_univrep.backbones import ResNet26, adaptable_layers
from keras_univrep.backbones.adaptable_layers import choose_layers, leaves
from keras_univrep.layers import ParallelAdapter
from tests.backbones.trunks import functional, subclassed

ODD = ["first", "shared", "depthwise", "pointwise", "dense"]
ALL = ["first", "shared", "depthwise", "pointwise", "even", "dense"]


def chosen(trunk: keras.Model, placement: object, adapter: str = "parallel") -> list[str]:
    return [name for name, _ in choose_layers(trunk, adapter, placement)]


def test_leaves_come_once_each_in_order_with_their_layers() -> None:
    trunk = functional()
    found = dict(leaves(trunk))
    names = ["first", "bn1", "shared", "depthwise", "bn2", "pointwise", "even", "dense"]
    assert list(found) == names
    assert all(found[name] is trunk.get_layer(name) for name in names)


def test_leaves_of_blocks_are_named_after_them() -> None:
    names = ["first", "block/conv", "block/bn", "stem", "norm"]
    assert [name for name, _ in leaves(subclassed())] == names


def test_leaves_of_nested_models_are_named_after_them() -> None:
    inner = functional()
    entry = keras.Input((12, 12, 3))
    outer = keras.Sequential([entry, inner, keras.layers.Dense(2, name="head")])
    names = [name for name, _ in leaves(outer)]
    assert names[0] == "trunk/first"
    assert names[-1] == "head"
    assert len(names) == 9


def test_leaves_of_one_name_are_numbered() -> None:
    entry = keras.Input((3,))
    first, second = (keras.layers.Dense(3, name="dense") for _ in range(2))
    trunk = keras.Sequential([keras.Sequential([entry, first], name="part"), second])
    assert [name for name, _ in leaves(trunk)] == ["part/dense", "dense"]

    class Pair(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.pair = [keras.layers.Dense(3, name="dense") for _ in range(2)]
            for layer in self.pair:
                layer.build((None, 3))

    assert [name for name, _ in leaves(Pair())] == ["dense", "dense_2"]


@pytest.mark.parametrize(
    ("adapter", "names"),
    [
        ("parallel", ODD),
        ("series", ALL),
        ("piggyback", ALL),
        ("deep_adaptation", ["first", "pointwise", "even", "dense"]),
        ("copy", ALL),
    ],
)
def test_each_adapter_takes_the_layers_that_it_can(adapter: str, names: list[str]) -> None:
    assert adaptable_layers(functional(), adapter) == names


def test_looking_at_layers_uses_up_no_names() -> None:
    def number() -> int:
        name = ParallelAdapter(keras.layers.Dense(1, name="dense")).name
        return int(name.removeprefix("parallel_adapter").lstrip("_") or 0)

    first = number()
    adaptable_layers(functional())
    assert number() == first + 1


@pytest.mark.parametrize(
    ("placement", "names"),
    [
        ("all", ["first", "shared", "depthwise"]),
        ("stem", ["first"]),
        ("half", ["depthwise"]),
        ("early", ["shared"]),
        (["stem", "mid"], ["first", "depthwise"]),
        ("dense", ["dense"]),
        (["dense", "first"], ["first", "dense"]),
        (".*s.*", ["first", "shared", "depthwise", "pointwise", "dense"]),
        (["stem", "p.*"], ["first", "pointwise"]),
        (lambda name, layer: isinstance(layer, keras.layers.Dense), ["dense"]),
        (lambda name, layer: name.startswith("p"), ["pointwise"]),
    ],
)
def test_placement_chooses_by_word_expression_or_function(
    placement: object, names: list[str]
) -> None:
    assert chosen(functional(), placement) == names


@pytest.mark.parametrize(
    ("placement", "words"),
    [
        ("half", ["unit2"]),
        ("early", ["early"]),
        ("mid", ["mid"]),
        ("late", ["late"]),
        ("stem", ["stem"]),
        ("all", ["stem", "unit"]),
    ],
)
def test_placement_means_for_a_resnet_what_it_means_to_it(placement: str, words: list[str]) -> None:
    trunk = ResNet26(width=0.125)
    every = [name for name, _ in leaves(trunk) if name.endswith("convolution")]
    assert len(every) == 25
    assert chosen(trunk, placement) == [n for n in every if any(word in n for word in words)]


def test_an_even_kernel_that_is_named_is_refused_with_its_name() -> None:
    with pytest.raises(ValueError, match=r"'even' cannot be adapted.*kernel_size=\(2, 2\)"):
        chosen(functional(), ["first", "even"])
    # An expression that matches others as well passes it over.
    assert "even" not in chosen(functional(), ".*")


def test_a_layer_of_another_kind_that_is_named_is_refused() -> None:
    with pytest.raises(TypeError, match="'bn1' cannot be adapted.*must be a keras.layers.Conv1D"):
        chosen(functional(), "bn1")
    with pytest.raises(ValueError, match="'bn1' cannot be adapted.*normalization='domain'"):
        chosen(functional(), "bn1", "copy")
    with pytest.raises(ValueError, match="'shared' cannot be adapted.*groups=2"):
        chosen(functional(), "shared", "deep_adaptation")


def test_an_expression_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\['first', .*'dense'\].*Received: 'fist'"):
        chosen(functional(), ["first", "fist"])


def test_a_network_without_a_layer_to_choose_is_refused() -> None:
    dense = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3, name="dense")])
    with pytest.raises(ValueError, match=r"at least one layer.*\['dense'\].*placement='all'"):
        chosen(dense, "all")
    with pytest.raises(ValueError, match="at least one layer"):
        chosen(functional(), lambda name, layer: False)
