"""`fuse`: the same outputs without adapters, from the layers that are named and no others."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest

from keras_univrep.backbones import AdaptedBackbone, ResNet26
from keras_univrep.compression import fuse
from keras_univrep.compression._anatomy import of_domain
from keras_univrep.layers.domain_bank import DomainBank
from keras_univrep.models import MultiDomainModel
from tests.backbones.trunks import Pyramid
from tests.compression.networks import (
    CLASSES,
    FOLDED,
    KEPT,
    SIZE,
    adapted,
    assert_close,
    conv_net,
    images,
    numpy,
    settle,
    subclassed,
    zoo,
)
from tests.harness import bits

NAMES = list(CLASSES)
WIDTH = 1 / 16


def check_fused(model: keras.Model, **options: object) -> keras.Model:
    """Fuses a domain and compares; returns the fused network."""
    x, before, config = images(), bits(model), model.get_config()
    expected = model(x, domain="sketch")
    fused = fuse(model, "sketch", **options)
    assert_close(fused(x), expected)
    after = bits(model)
    assert list(before) == list(after)
    assert all(np.array_equal(before[path], after[path]) for path in before)
    assert model.get_config() == config
    mine = {id(variable) for variable in model.variables}
    assert not mine & {id(variable) for variable in fused.variables}
    return fused


def normalizations(model: keras.Model) -> set[str]:
    kept = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    return {layer.name for layer in kept}


@pytest.mark.parametrize("adapter", ["parallel", "copy"])
@pytest.mark.parametrize("normalization", ["domain", "shared"])
def test_folds_what_can_be_folded_in_any_graph(adapter: str, normalization: str) -> None:
    model = adapted(zoo(), adapter=adapter, placement=".*", normalization=normalization)
    fused = check_fused(model)
    assert normalizations(fused) == KEPT
    assert not [x for x in fused._flatten_layers() if isinstance(x, DomainBank)]
    assert fused.get_layer("stem").use_bias and fused.trainable


def test_keeps_all_normalisations_if_told_so() -> None:
    fused = check_fused(adapted(zoo(), placement="all"), normalization=False)
    assert normalizations(fused) == KEPT | {name.split("/")[-1] for name in FOLDED}
    assert not fused.get_layer("stem").use_bias


@pytest.mark.parametrize("folds", [True, False])
@pytest.mark.parametrize("adapter", ["series", "piggyback", "deep_adaptation"])
def test_every_adapter_with_merged_weights_is_merged(adapter: str, folds: bool) -> None:
    model = adapted(conv_net(), adapter=adapter)
    fused = check_fused(model, normalization=folds)
    kinds = [type(layer).__name__ for layer in fused.layers]
    unit = ["Conv2D", "ReLU"] if folds else ["Conv2D", "BatchNormalization", "ReLU"]
    assert kinds == ["InputLayer", *unit * 3, "GlobalAveragePooling2D", "Dense"]


def test_a_normalisation_before_a_convolution_stays() -> None:
    entry = x = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.BatchNormalization(name="first")(x)
    x = keras.layers.Conv2D(4, 3, name="conv")(x)
    trunk = keras.Model(entry, x)
    assert normalizations(check_fused(adapted(trunk))) == {"first"}


def test_a_normalisation_stays_where_the_convolution_is_an_output_too() -> None:
    entry = keras.Input((SIZE, SIZE, 4))
    x = keras.layers.Conv2D(4, 3, name="conv")(entry)
    inner = keras.Model(entry, [x, keras.layers.BatchNormalization(name="norm")(x)])
    outer = keras.Input((SIZE, SIZE, 3))
    both = inner(keras.layers.Conv2D(4, 1)(outer))
    trunk = keras.Model(outer, keras.layers.Concatenate()(both))
    assert normalizations(check_fused(adapted(trunk))) == {"norm"}


def test_a_normalisation_over_another_axis_or_of_the_batch_stays() -> None:
    entry = x = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(4, 3, name="conv0")(x)
    x = keras.layers.BatchNormalization(axis=1, name="rows")(x)
    x = keras.layers.Conv2D(4, 3, name="conv1")(x)
    x = keras.layers.BatchNormalization(name="training")(x, training=True)
    model = settle(MultiDomainModel(keras.Model(entry, x), {"sketch": 3}))
    fused = fuse(model)
    assert normalizations(fused) == {"rows", "training"}


def test_sequential_trunks_are_graphs_too() -> None:
    trunk = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(4, 3, strides=2, name="conv0"),
            keras.layers.BatchNormalization(),
            keras.Sequential([keras.layers.Conv2D(6, 3), keras.layers.BatchNormalization()]),
        ]
    )
    assert not normalizations(check_fused(adapted(trunk)))


def test_a_layer_that_two_graphs_share_stays_one_layer() -> None:
    shared = keras.layers.Conv2D(3, 3, padding="same", name="shared")
    entry = keras.Input((SIZE, SIZE, 3))
    inner = keras.Model(entry, keras.layers.BatchNormalization(name="norm")(shared(entry)))
    outer = keras.Input((SIZE, SIZE, 3))
    trunk = keras.Model(outer, inner(keras.layers.ReLU()(shared(outer))))
    fused = check_fused(adapted(trunk))
    assert normalizations(fused) == {"norm"}
    kernels = [v for v in fused.weights if v.path.endswith("shared/kernel")]
    assert len(kernels) == 1


def test_layers_with_a_state_besides_weights_keep_it() -> None:
    entry = keras.Input((SIZE, SIZE, 3))
    scaling = keras.layers.Normalization()
    scaling.adapt(5 + 3 * images(8))
    trunk = keras.Model(entry, keras.layers.Conv2D(4, 3)(scaling(entry)))
    model = MultiDomainModel(AdaptedBackbone(trunk, NAMES), CLASSES)
    check_fused(model)


@pytest.mark.parametrize("adapter", ["parallel", "series"])
def test_an_adapted_resnet26_becomes_convolutions_with_a_bias(adapter: str) -> None:
    model = adapted(ResNet26(width=WIDTH), adapter=adapter)
    fused = check_fused(model)
    network = fused.layers[1]
    assert isinstance(network, ResNet26) and network.normalization == "folded"
    assert normalizations(network) == {"normalization"} and not network.depends_on_domain
    assert len([v for v in network.weights if v.path.endswith("/bias")]) == 25


@pytest.mark.parametrize("folds", [True, False])
def test_a_resnet26_with_adapters_of_its_own_is_fused_alike(folds: bool) -> None:
    # Without folding, what series adapters add to the bias goes into the normalisation's mean.
    backbone = ResNet26(NAMES, adapter="series", placement=["half", "late"], width=WIDTH)
    network = check_fused(settle(MultiDomainModel(backbone, CLASSES)), normalization=folds).layers[
        1
    ]
    assert network.normalization == ("folded" if folds else "shared")


def test_a_plain_network_is_fused_without_domains() -> None:
    model = settle(MultiDomainModel(ResNet26(width=WIDTH), {"photo": 4}))
    assert_close(fuse(model)(images()), model(images()))
    network = fuse(model.backbone)
    assert_close(network(images()), model.features(images()))


def test_keras_applications_are_fused() -> None:
    trunk = keras.applications.MobileNetV3Small(
        (32, 32, 3), minimalistic=True, include_top=False, weights=None
    )
    model = adapted(trunk)
    x = images(2, 32)
    fused = fuse(model, "photo")
    # Compiled: on JAX one operation after the other takes longer.
    expected = model.for_domain("photo").predict_on_batch(x)
    assert_close(fused.predict_on_batch(x), expected)
    assert not normalizations(fused)
    assert {type(layer).__module__.split(".")[0] for layer in fused.layers} == {"keras"}


@pytest.mark.parametrize("normalization", ["domain", "shared"])
def test_other_trunks_keep_their_normalisations_in_the_domains_values(normalization: str) -> None:
    model = adapted(subclassed(), normalization=normalization)
    fused = check_fused(model)
    assert len(normalizations(fused)) == 1


def test_a_functional_class_with_a_configuration_of_its_own_becomes_a_plain_graph() -> None:
    model = adapted(Pyramid(), adapter="series")
    assert not normalizations(check_fused(model))


def test_a_bias_that_a_layer_cannot_have_is_refused() -> None:
    model = adapted(subclassed(use_bias=False), adapter="series")
    with pytest.raises(ValueError, match="Give that layer a bias"):
        fuse(model, "photo")


def test_a_series_adapter_after_an_activation_is_refused() -> None:
    model = adapted(zoo(), adapter="series", placement="activated")
    with pytest.raises(ValueError, match="without activation"):
        fuse(model, "photo")


@pytest.mark.parametrize("trunk", [conv_net, lambda: ResNet26(width=WIDTH), subclassed])
def test_a_saved_fused_network_comes_back(trunk: object, tmp_path: pathlib.Path) -> None:
    fused = fuse(adapted(trunk()), "photo")
    fused.save(tmp_path / "fused.keras")
    loaded = keras.saving.load_model(tmp_path / "fused.keras")
    np.testing.assert_array_equal(numpy(loaded(images())), numpy(fused(images())))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exported from TensorFlow")
@pytest.mark.parametrize("trunk", [conv_net, lambda: ResNet26(width=WIDTH)])
def test_a_fused_network_is_exported(trunk: object, tmp_path: pathlib.Path) -> None:
    import tensorflow as tf

    fused = fuse(adapted(trunk()), "photo")
    fused.export(tmp_path / "export", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "export"))
    assert_close(loaded.serve(images(2, 24)), fused(images(2, 24)))


def test_a_fused_network_trains() -> None:
    fused = fuse(adapted(conv_net()), "photo")
    fused.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = bits(fused)
    fused.fit(images(4), np.arange(4), verbose=0)
    after = bits(fused)
    assert not [path for path in before if np.array_equal(before[path], after[path])]


def test_an_unknown_domain_is_refused_with_the_known_ones() -> None:
    model = adapted(conv_net())
    for domain in ("video", None):
        with pytest.raises(ValueError, match=r"\['photo', 'sketch'\].*Received: domain="):
            fuse(model, domain)


def test_a_backbone_with_domains_of_another_kind_is_refused() -> None:
    network = conv_net()
    network.depends_on_domain = True
    network.domains = ("photo",)
    with pytest.raises(TypeError, match="Wrap its trunk"):
        fuse(network, "photo")
    with pytest.raises(TypeError, match="Received: 3"):
        fuse(3)


def test_a_bank_without_merged_weights_is_refused() -> None:
    class Bank(DomainBank):
        def make_part(self, domain: str | None) -> keras.layers.Layer:
            return keras.layers.Layer(name=f"part_{domain}")

    with pytest.raises(ValueError, match="Write that method"):
        of_domain(Bank(NAMES), "photo")
