"""`AdaptedBackbone` over trunks that Keras named, that are partly frozen, or like KerasHub's."""

from __future__ import annotations

import pathlib
import re
import warnings
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import AdaptedBackbone, adaptable_layers
from keras_univrep.backbones.adaptable_layers import leaves
from keras_univrep.models import MultiDomainModel
from tests.backbones.test_adapted_backbone import X, moved, numpy, pooled, shift
from tests.backbones.test_adapted_backbone_domains import check_same, paths_of, step
from tests.backbones.trunks import Pyramid, functional, subclassed, trained, unnamed
from tests.harness import HOW_TO_INSTALL_KERAS_HUB, bits

RENAMED: dict[str, Callable[[], keras.Model]] = {
    "subclassed": unnamed,
    "like KerasHub's": lambda: trained(Pyramid(name="trunk")),
}


def pyramid(**options: object) -> Pyramid:
    return trained(Pyramid(**options))


@pytest.mark.parametrize("others", [1, 5])
@pytest.mark.parametrize("name", RENAMED)
def test_a_saved_network_comes_back_where_keras_names_its_layers_otherwise(
    name: str, others: int, tmp_path: pathlib.Path
) -> None:
    keras.backend.clear_session()
    trunk = RENAMED[name]()
    names = adaptable_layers(trunk)
    assert names[:2] == ["conv2d", "conv2d_1"]
    backbone = AdaptedBackbone(
        trunk, ["a", "b"], placement="conv2d_1", layer_options={"conv2d_1": {"rank": 2}}
    )
    for domain, by in (("a", 0.1), ("b", 0.2)):
        shift(backbone, domain, by)
    backbone.save(tmp_path / "network.keras")
    # As in another process: other layers have taken the names.
    keras.backend.clear_session()
    for _ in range(others):
        keras.layers.Conv2D(1, 1)
    again = keras.saving.load_model(tmp_path / "network.keras")
    here = adaptable_layers(again.trunk)
    assert here != names
    # With one other layer, the first convolution has the name that the second had.
    assert again.adapted == (here[1],)
    assert again.banks[here[1]].rank == 2
    assert list(again.layer_options) == [here[1]]
    for mine, theirs in zip(backbone.weights, again.weights, strict=True):
        np.testing.assert_array_equal(numpy(mine), numpy(theirs))
    for domain in "ab":
        expected = numpy(backbone(X, domain=domain))
        np.testing.assert_array_equal(numpy(again(X, domain=domain)), expected)
        again.add_domain(f"{domain}2", like=domain)
        np.testing.assert_array_equal(numpy(again(X, domain=f"{domain}2")), expected)


def test_a_network_that_was_saved_without_the_names_of_its_layers_comes_back() -> None:
    backbone = AdaptedBackbone(functional(), ["a"], placement=["stem", "dense"])
    config = backbone.get_config()
    del config["layers"], config["frozen"]
    again = AdaptedBackbone.from_config(config)
    assert again.adapted == ("first", "dense")


def freeze(trunk: keras.Model, *names: str) -> set[str]:
    """Freezes some layers; returns the paths of what they hold, without the trunk's name."""
    layers = dict(leaves(trunk))
    for name in names:
        layers[name].trainable = False
    return {short(v) for name in names for v in layers[name].weights}


def short(variable: keras.Variable) -> str:
    return variable.path.removeprefix("trunk/")


def trained_of(backbone: AdaptedBackbone) -> set[str]:
    """What trains of a backbone's trunk."""
    ours = {variable.path for variable in backbone.trainable_variables}
    return {short(variable) for variable in backbone.trunk.weights if variable.path in ours}


@pytest.mark.parametrize(
    ("make", "names"), [(functional, ["first", "bn2"]), (subclassed, ["block/conv", "stem"])]
)
def test_layers_that_are_frozen_one_by_one_stay_so(
    make: Callable[[], keras.Model], names: list[str], tmp_path: pathlib.Path
) -> None:
    trunk = make()
    every = {short(variable) for variable in trunk.trainable_variables}
    frozen = freeze(trunk, *names)
    options = {"normalization": "shared", "trunk_trainable": True}
    backbone = AdaptedBackbone(trunk, ["a"], name="backbone", **options)
    assert frozen & every
    assert trained_of(backbone) == every - frozen
    backbone.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    assert trained_of(again) == every - frozen
    check_same(backbone, again, X)
    before = bits(again)
    step(MultiDomainModel(again, {"a": 2}), "a")
    still = {v.path for v in again.trunk.weights if short(v) in frozen}
    assert len(still) == len(frozen)
    assert moved(before, again) & set(before) and not moved(before, again) & still


def test_a_trunk_that_is_frozen_as_a_whole_is_thawed_where_it_shall_train() -> None:
    trunk = functional()
    every = {short(variable) for variable in trunk.trainable_variables}
    freeze(trunk, "first")
    assert not trained_of(AdaptedBackbone(trunk, ["a"], normalization="shared"))
    backbone = AdaptedBackbone(trunk, ["a"], normalization="shared", trunk_trainable=True)
    assert trained_of(backbone) == every


@pytest.mark.parametrize("named", [False, True])
def test_a_functional_class_with_a_configuration_of_its_own_is_a_trunk(
    named: bool, tmp_path: pathlib.Path
) -> None:
    trunk = pyramid(named=named, name="trunk")
    given = {"images": X} if named else X
    expected = pooled(trunk, given)
    backbone = AdaptedBackbone(trunk, ["a", "b"], name="backbone")
    assert (backbone.filters, backbone.channels) == (6, 3)
    assert len(backbone.banks) == 4
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The structure of")
        np.testing.assert_allclose(numpy(backbone(X, domain="a")), expected, atol=1e-5)
    np.testing.assert_array_equal(
        numpy(backbone(given, domain="a")), numpy(backbone(X, domain="a"))
    )
    shift(backbone, "b")
    model = MultiDomainModel(backbone, {"b": 3})
    assert model.for_domain("b").output_shape == (None, 3)
    before = bits(backbone)
    step(model, "b")
    assert moved(before, backbone) == paths_of(backbone, "b")
    model.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    assert type(again.backbone.trunk) is Pyramid
    np.testing.assert_array_equal(numpy(again(X, domain="b")), numpy(model(X, domain="b")))


def test_the_shape_for_a_dictionary_of_images_is_known() -> None:
    backbone = AdaptedBackbone(pyramid(named=True), ["a"])
    spec = backbone.compute_output_spec({"images": keras.KerasTensor((5, 12, 12, 3))})
    assert spec.shape == (5, 6)


def test_of_several_outputs_one_is_chosen() -> None:
    trunk = pyramid(every=True, name="trunk")
    with pytest.raises(ValueError, match=re.escape("keras.Model(trunk.input, trunk.outputs[-1])")):
        AdaptedBackbone(trunk, ["a"])
    for output in (trunk.outputs[-1], trunk.pyramid_outputs["P1"]):
        backbone = AdaptedBackbone(keras.Model(trunk.input, output), ["a"])
        maps = trunk(X)["P2" if output is trunk.outputs[-1] else "P1"]
        features = numpy(ops.mean(maps, axis=(1, 2)))
        np.testing.assert_allclose(numpy(backbone(X)), features, atol=1e-5)


def test_convolutions_that_are_left_out_are_named() -> None:
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="first")(images)
    x = keras.layers.SeparableConv2D(4, 3, name="separable")(x)
    x = keras.layers.SeparableConv2D(4, 1, name="pixelwise")(x)
    trunk = keras.Model(images, x, name="trunk")
    with pytest.warns(UserWarning, match=r"SeparableConv2D.* 1 in all: \['separable'\]"):
        backbone = AdaptedBackbone(trunk, ["a"])
    assert backbone.adapted == ("first",)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AdaptedBackbone(trunk, ["a"], placement="first")


@pytest.mark.parametrize("kind", ["resnet", "densenet", "vit"])
def test_backbones_of_keras_hub_take_adapters(kind: str) -> None:
    hub = pytest.importorskip("keras_hub", reason=HOW_TO_INSTALL_KERAS_HUB).models
    make = {
        "resnet": lambda: hub.ResNetBackbone(
            input_conv_filters=[64], input_conv_kernel_sizes=[7], stackwise_num_filters=[64],
            stackwise_num_blocks=[1], stackwise_num_strides=[1], block_type="basic_block",
            image_shape=(16, 16, 3),
        ),
        "densenet": lambda: hub.DenseNetBackbone(
            stackwise_num_repeats=[1, 1], compression_ratio=0.5, growth_rate=4,
            image_shape=(16, 16, 3),
        ),
        "vit": lambda: hub.ViTBackbone(
            image_shape=(16, 16, 3), patch_size=8, num_layers=1, num_heads=2, hidden_dim=8,
            mlp_dim=16,
        ),
    }  # fmt: skip
    trunk = make[kind]()
    images = np.random.default_rng(0).uniform(size=(2, 16, 16, 3)).astype("float32")
    maps = ops.convert_to_numpy(trunk(images, training=False))
    backbone = AdaptedBackbone(trunk, ["birds", "fish"], adapter="parallel", placement=".*")
    features = ops.convert_to_numpy(backbone(images, domain="fish", training=False))
    right = maps.mean(axis=tuple(range(1, maps.ndim - 1)))
    np.testing.assert_allclose(features, right, atol=1e-5)
    model = MultiDomainModel(backbone, {"birds": 3, "fish": 2})
    model.compile("sgd", domains=["fish"])
    before = [ops.convert_to_numpy(weight) for weight in trunk.trainable_weights]
    model.fit({"fish": images}, {"fish": np.array([0, 1])}, verbose=0)
    for old, new in zip(before, trunk.trainable_weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(new), old)
