"""Domains of an `AdaptedBackbone` come, train, are saved and go without touching each other."""

from __future__ import annotations

import pathlib
import re

import keras
import numpy as np
import pytest

from keras_univrep.backbones import AdaptedBackbone, ResNet26
from keras_univrep.models import MultiDomainModel
from tests.backbones.test_adapted_backbone import ADAPTERS, TRUNKS, X, moved, numpy, shift
from tests.backbones.trunks import functional, images, subclassed, trained
from tests.harness import bits


def paths_of(backbone: AdaptedBackbone, domain: str) -> set[str]:
    return {variable.path for variable in backbone.domain_weights(domain).values()}


def step(model: keras.Model, domains: str = "ab") -> None:
    """One training step on a batch of each of several domains."""
    model.compile(keras.optimizers.SGD(0.1))
    batch = {name: images(4) for name in domains}
    model.fit(batch, {name: np.arange(4) % 2 for name in domains}, verbose=0)


@pytest.mark.parametrize("adapter", ["parallel", "series", "deep_adaptation", "copy"])
def test_a_step_on_two_domains_moves_both_and_no_bit_of_the_trunk(adapter: str) -> None:
    # A series adapter of zeros gives its normalisation no gradient.
    more = {"adapter_initializer": "glorot_normal"} if adapter == "series" else {}
    backbone = AdaptedBackbone(functional(), ["a", "b", "c"], adapter, adapter_options=more)
    model = MultiDomainModel(backbone, {"a": 2, "b": 3})
    before = bits(model)
    step(model)
    heads = {variable.path for head in model.heads for variable in head.weights}
    assert moved(before, model) == paths_of(backbone, "a") | paths_of(backbone, "b") | heads


def test_masks_train_without_the_trunk() -> None:
    backbone = AdaptedBackbone(functional(), ["a"], "piggyback", normalization="shared")
    model = MultiDomainModel(backbone, {"a": 2})
    before = bits(backbone)
    step(model, "a")
    assert moved(before, backbone) == paths_of(backbone, "a")


def test_the_trunk_trains_where_it_is_allowed_to() -> None:
    trunk = functional()
    backbone = AdaptedBackbone(trunk, ["a"], normalization="shared", trunk_trainable=True)
    before = bits(backbone)
    step(MultiDomainModel(backbone, {"a": 2}), "a")
    assert moved(before, backbone) == set(before)


def test_a_functional_model_of_one_domain_trains_its_domain_alone() -> None:
    backbone = AdaptedBackbone(functional(), ["a", "b"])
    model = MultiDomainModel(backbone, {"a": 2, "b": 3})
    single = model.for_domain("a")
    single.compile(
        keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    before, other = bits(model), numpy(model(X, domain="b"))
    single.fit(images(4), np.array([0, 1, 0, 1]), verbose=0)
    head = {variable.path for variable in model.head("a").weights}
    assert moved(before, model) == paths_of(backbone, "a") | head
    np.testing.assert_array_equal(numpy(model(X, domain="b")), other)
    np.testing.assert_array_equal(numpy(single(X)), numpy(model(X, domain="a")))


@pytest.mark.parametrize("name", TRUNKS)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_domains_come_and_go_and_leave_the_others_bit_for_bit(
    name: str, adapter: str | None
) -> None:
    backbone = AdaptedBackbone(TRUNKS[name](), ["a", "b"], adapter)
    fresh = numpy(backbone(X, domain="a"))
    for domain in "ab":
        shift(backbone, domain)
    before = {domain: numpy(backbone(X, domain=domain)) for domain in "ab"}
    count = len(backbone.weights)
    backbone.add_domain("c")
    backbone.add_domain("d", like="b")
    np.testing.assert_array_equal(numpy(backbone(X, domain="c")), fresh)
    np.testing.assert_array_equal(numpy(backbone(X, domain="d")), before["b"])
    shift(backbone, "c")
    shift(backbone, "d")
    backbone.remove_domain("b")
    backbone.remove_domain("d")
    assert backbone.domains == ("a", "c")
    assert len(backbone.weights) == count
    np.testing.assert_array_equal(numpy(backbone(X, domain="a")), before["a"])
    with pytest.raises(ValueError, match=r"\['a', 'c'\].*Received: domain='b'"):
        backbone(X, domain="b")


def test_training_a_new_domain_leaves_the_others_bit_for_bit() -> None:
    backbone = AdaptedBackbone(functional(), ["a"])
    shift(backbone, "a")
    before = numpy(backbone(X, domain="a"))
    backbone.add_domain("b")
    weights = bits(backbone)
    step(MultiDomainModel(backbone, {"b": 2}), "b")
    assert moved(weights, backbone) == paths_of(backbone, "b")
    np.testing.assert_array_equal(numpy(backbone(X, domain="a")), before)


def test_a_domain_can_be_renamed() -> None:
    backbone = AdaptedBackbone(functional(), ["a", "b"])
    shift(backbone, "a")
    before = numpy(backbone(X, domain="a"))
    own, count = backbone.domain_weights("a"), len(backbone.weights)
    backbone.rename_domain("a", "z")
    assert backbone.domains == ("b", "z")
    assert len(backbone.weights) == count
    np.testing.assert_array_equal(numpy(backbone(X, domain="z")), before)
    assert list(backbone.domain_weights("z")) == list(own)
    assert all(re.search(r"_z/", path) for path in paths_of(backbone, "z"))


def test_bad_changes_change_nothing() -> None:
    backbone = AdaptedBackbone(functional(), ["a", "b"])
    before = list(bits(backbone))
    for change, words in (
        (lambda: backbone.add_domain("a"), "each name once"),
        (lambda: backbone.add_domain("c/d"), "no '/'"),
        (lambda: backbone.add_domain("c", like="x"), "Received: domain='x'"),
        (lambda: backbone.remove_domain("x"), "Received: domain='x'"),
        (lambda: backbone.rename_domain("a", "b"), "each name once"),
    ):
        with pytest.raises(ValueError, match=words):
            change()
    assert backbone.domains == ("a", "b")
    assert list(bits(backbone)) == before
    backbone.remove_domain("a")
    with pytest.raises(ValueError, match="at least one name"):
        backbone.remove_domain("b")
    assert backbone.domains == ("b",)


def saved(model: keras.Model, folder: pathlib.Path) -> keras.Model:
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


def check_same(backbone: AdaptedBackbone, again: AdaptedBackbone, x: np.ndarray) -> None:
    before, after = bits(backbone), bits(again)
    assert list(before) == list(after)
    for path in before:
        np.testing.assert_array_equal(before[path], after[path], err_msg=path)
    assert again.domains == backbone.domains
    assert again.adapted == backbone.adapted
    assert [v.path for v in again.trainable_variables] == [
        v.path for v in backbone.trainable_variables
    ]
    for domain in backbone.domains:
        np.testing.assert_array_equal(
            numpy(backbone(x, domain=domain)), numpy(again(x, domain=domain))
        )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("functional", {"adapter": "series", "placement": lambda name, layer: "e" in name}),
        ("functional", {"adapter": "copy", "normalization": "new", "trunk_trainable": True}),
        ("functional", {"adapter": "deep_adaptation", "normalization": "shared"}),
        (
            "maps",
            {
                "adapter_options": {"rank": 1, "adapter_regularizer": keras.regularizers.L2(0.1)},
                "layer_options": {"first": {"rank": 2}, "shared": {"rank": None}},
            },
        ),
        ("subclassed", {"adapter": "piggyback", "placement": "ste[m]"}),
        ("subclassed", {"adapter": None}),
    ],
)
def test_a_saved_network_comes_back_bit_for_bit(
    name: str, options: dict, tmp_path: pathlib.Path
) -> None:
    backbone = AdaptedBackbone(TRUNKS[name](), ["a", "b"], name="backbone", **options)
    backbone.add_domain("c")
    backbone.remove_domain("a")
    for index, domain in enumerate("bc"):
        shift(backbone, domain, 0.1 * (index + 1))
    again = saved(backbone, tmp_path)
    check_same(backbone, again, X)
    if options.get("layer_options"):
        ranks = [again.banks[layer].rank for layer in ("first", "shared", "depthwise")]
        assert ranks == [2, None, 1]


def test_a_saved_resnet_comes_back_bit_for_bit_in_a_classifier(tmp_path: pathlib.Path) -> None:
    trunk = trained(ResNet26(width=0.125))
    backbone = AdaptedBackbone(trunk, ["a", "b"], placement=["stem", "half"], name="backbone")
    shift(backbone, "a", 1e-3)
    model = MultiDomainModel(backbone, {"a": 2, "b": 3}, name="model")
    again = saved(model, tmp_path)
    x = images(size=16)
    check_same(backbone, again.backbone, x)
    assert list(bits(model)) == list(bits(again))
    np.testing.assert_array_equal(numpy(model(x, domain="a")), numpy(again(x, domain="a")))


def test_channels_are_those_of_the_images() -> None:
    assert AdaptedBackbone(functional(), ["a"]).channels == 3
    assert AdaptedBackbone(subclassed(), ["a"]).channels == 3
    assert AdaptedBackbone(ResNet26(width=0.125, channels=1), ["a"]).channels == 1
