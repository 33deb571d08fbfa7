"""`AdaptedBackbone`: the trunk's own outputs at the start, `ResNet26`'s with the same weights."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import AdaptedBackbone, ResNet26
from keras_univrep.backbones.adaptable_layers import leaves
from keras_univrep.layers import DomainCopy, ParallelAdapter
from tests.backbones.trunks import functional, images, subclassed, trained
from tests.harness import bits

ADAPTERS = ["parallel", "series", "piggyback", "deep_adaptation", "copy", None]
TRUNKS: dict[str, Callable[[], keras.Model]] = {
    "functional": functional,
    "maps": lambda: functional(pooled=False),
    "subclassed": subclassed,
}
X = images()


def numpy(x: object) -> np.ndarray:
    return ops.convert_to_numpy(x)


def pooled(trunk: keras.Model, x: np.ndarray) -> np.ndarray:
    maps = numpy(trunk(x))
    return maps.mean(tuple(range(1, maps.ndim - 1)))


def shift(backbone: AdaptedBackbone, domain: str, by: float = 0.1) -> None:
    """Moves what a domain has of its own; a mask to the other side of its threshold."""
    for name, variable in backbone.domain_weights(domain).items():
        variable.assign(variable - 0.01 if name.endswith("mask") else variable + by)


def moved(before: dict[str, np.ndarray], model: keras.Model) -> set[str]:
    after = bits(model)
    return {path for path in before if not np.array_equal(before[path], after[path])}


@pytest.mark.parametrize("name", TRUNKS)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_fresh_domain_gives_the_features_of_the_trunk(name: str, adapter: str | None) -> None:
    trunk = TRUNKS[name]()
    expected = pooled(trunk, X)
    backbone = AdaptedBackbone(trunk, ["a", "b"], adapter)
    for domain in "ab":
        features = numpy(backbone(X, domain=domain))
        assert features.shape == (2, backbone.filters)
        np.testing.assert_allclose(features, expected, atol=1e-5)
    shift(backbone, "a")
    assert np.abs(numpy(backbone(X, domain="a")) - expected).max() > 1e-3
    np.testing.assert_array_equal(pooled(trunk, X), expected)


@pytest.mark.parametrize("adapter", ["parallel", "series", "piggyback", "copy"])
def test_a_fresh_domain_of_a_resnet_is_its_trunk_bit_for_bit(adapter: str) -> None:
    trunk = trained(ResNet26(width=0.125))
    x = images(size=16)
    expected = numpy(trunk(x))
    backbone = AdaptedBackbone(trunk, ["a"], adapter)
    np.testing.assert_array_equal(numpy(backbone(x)), expected)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(
            lambda **kwargs: keras.applications.MobileNetV3Small(alpha=0.5, **kwargs),
            # JAX compiles every operation of a call by itself.
            marks=[pytest.mark.slow] if keras.backend.backend() == "jax" else [],
        ),
        pytest.param(
            lambda **kwargs: keras.applications.EfficientNetV2B0(**kwargs), marks=pytest.mark.slow
        ),
        pytest.param(
            lambda **kwargs: keras.applications.ResNet50(**kwargs), marks=pytest.mark.slow
        ),
    ],
)
def test_networks_of_keras_applications_are_trunks(make: Callable[..., keras.Model]) -> None:
    trunk = make(input_shape=(32, 32, 3), include_top=False, weights=None)
    x = images(size=32)
    expected = pooled(trunk, x)
    backbone = AdaptedBackbone(trunk, ["a"])
    features = numpy(backbone(x))
    np.testing.assert_allclose(features, expected, atol=1e-5 * max(1.0, np.abs(expected).max()))
    normalizations = [
        layer for _, layer in leaves(trunk) if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(backbone.banks) == len(backbone.adapted) + len(normalizations)
    assert all(max(backbone.banks[name].layer.kernel_size) > 1 for name in backbone.adapted)
    shift(backbone, "a", 1e-3)
    assert not np.array_equal(numpy(backbone(x)), features)


def give(direct: ResNet26, backbone: AdaptedBackbone) -> None:
    """Gives `backbone` the weights of a `ResNet26` with the same adapters."""
    own = {domain: backbone.domain_weights(domain) for domain in backbone.domains}
    shared = {variable.path.split("/", 1)[1]: variable for variable in backbone.trunk.weights}
    for variable in direct.weights:
        path = variable.path.split("/", 1)[1].replace("adapted/convolution", "convolution")
        path = path.replace("/adapted/", "/convolution/")
        part = re.search(r"(?:adapter|normalization)_([ab])/", path)
        if part is None:
            target = shared[path]
        else:
            target = own[part[1]].pop(path.replace(part[0], ""))
        target.assign(numpy(variable))
    assert not any(own.values())


@pytest.mark.parametrize(
    ("adapter", "placement"),
    [
        *(("parallel", word) for word in ("all", "half", "stem", "early", "mid", "late")),
        ("series", "all"),
        ("series", ["stem", "late"]),
    ],
)
def test_is_the_adapted_resnet_that_has_the_same_weights(adapter: str, placement: object) -> None:
    options = {"adapter": adapter, "placement": placement}
    direct = trained(ResNet26(["a", "b"], width=0.125, **options))
    backbone = AdaptedBackbone(ResNet26(width=0.125), ["a", "b"], **options)
    give(direct, backbone)
    x = images(size=16)
    for domain in "ab":
        expected = numpy(direct(x, domain=domain))
        np.testing.assert_allclose(
            numpy(backbone(x, domain=domain)), expected, atol=1e-5 * np.abs(expected).max()
        )
    expected = numpy(direct(x, domain="b", training=True))
    actual = numpy(backbone(x, domain="b", training=True))
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def resnet26() -> ResNet26:
    return ResNet26()


@pytest.mark.parametrize(
    ("adapter", "placement", "per_domain"),
    [
        ("parallel", "all", 645_216),
        ("parallel", "stem", 96),
        ("parallel", "half", 344_064),
        ("parallel", ["stem", "half"], 344_064 + 96),
        ("parallel", "early", 30_720),
        ("parallel", "mid", 122_880),
        ("parallel", "late", 491_520),
        ("series", "all", 696_384),
        # One element of the mask for each weight of the convolutions.
        ("piggyback", "all", 5_806_944),
        ("copy", "all", 5_806_944),
        ("deep_adaptation", "all", 696_384 - 2 * 3_616),
    ],
)
def test_each_domain_adds_the_published_size(
    resnet26: ResNet26, adapter: str, placement: object, per_domain: int
) -> None:
    backbone = AdaptedBackbone(resnet26, ["a"], adapter, placement, normalization="shared")
    assert sum(int(np.prod(v.shape)) for v in backbone.trainable_variables) == per_domain


@pytest.mark.parametrize("normalization", ["domain", "new", "shared"])
def test_normalisations_start_as_chosen(normalization: str) -> None:
    trunk = functional()
    backbone = AdaptedBackbone(trunk, ["a"], None, normalization=normalization)
    assert list(backbone.banks) == ([] if normalization == "shared" else ["bn1", "bn2"])
    for name, bank in backbone.banks.items():
        assert isinstance(bank, DomainCopy)
        same = [
            np.array_equal(mine, theirs)
            for mine, theirs in zip(bank.part("a").get_weights(), trunk.get_layer(name).weights)
        ]
        assert all(same) if normalization == "domain" else not any(same)


def test_training_moves_the_statistics_of_its_domain_alone() -> None:
    backbone = AdaptedBackbone(functional(), ["a", "b"])
    before = bits(backbone)
    backbone(X, domain="b", training=True)
    names = {f"bn{i}/bn{i}_b/moving_{kind}" for i in (1, 2) for kind in ("mean", "variance")}
    assert {path.split("/", 1)[1] for path in moved(before, backbone)} == names


def test_what_a_domain_has_is_named_by_layer() -> None:
    backbone = AdaptedBackbone(subclassed(), ["a", "b"], placement=["block/.*", "stem"])
    # "stem" is the first convolution, whatever a layer may be called.
    assert backbone.adapted == ("first", "block/conv")
    norms = [f"block/bn/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    names = ["first/kernel", "block/conv/kernel", *norms, "norm/gamma", "norm/beta"]
    weights = backbone.domain_weights("b")
    assert list(weights) == names
    assert isinstance(backbone.banks["block/conv"], ParallelAdapter)
    assert weights["block/conv/kernel"] is backbone.banks["block/conv"].adapter_kernel("b")
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*Received: domain='c'"):
        backbone.domain_weights("c")


def test_options_reach_all_adapters_or_one() -> None:
    backbone = AdaptedBackbone(
        functional(),
        ["a"],
        placement=["stem", "pointwise"],
        adapter_options={"adapter_initializer": "glorot_normal", "rank": 1},
        layer_options={"first": {"rank": 2, "dropout": 0.5}},
    )
    first, pointwise = (backbone.banks[name] for name in ("first", "pointwise"))
    assert (first.rank, first.dropout, pointwise.rank, pointwise.dropout) == (2, 0.5, 1, 0.0)
    assert tuple(first.part("a").kernel.shape) == (3, 2)


@pytest.mark.parametrize("adapter", ["parallel", "deep_adaptation"])
def test_mixed_precision_goes_through_the_adapters(adapter: str) -> None:
    policy = "mixed_bfloat16"
    exact = AdaptedBackbone(functional(), ["a"], adapter)
    trunk = functional(dtype=policy)
    for own in (policy, "float32"):
        backbone = AdaptedBackbone(trunk, ["a"], adapter, dtype=own)
        assert {bank.compute_dtype for bank in backbone.banks.values()} == {"bfloat16"}
        backbone.set_weights(exact.get_weights())
        features = backbone(X)
        wanted = "bfloat16" if own == policy else "float32"
        assert keras.backend.standardize_dtype(features.dtype) == wanted
        spec = backbone.compute_output_spec(keras.KerasTensor(X.shape))
        assert (spec.shape, spec.dtype) == ((2, 5), wanted)
        expected = numpy(exact(X))
        actual = numpy(ops.cast(features, "float32"))
        assert np.linalg.norm(actual - expected) < 0.05 * np.linalg.norm(expected)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="export is TensorFlow's")
def test_a_domain_is_exported(tmp_path: pathlib.Path) -> None:
    import tensorflow as tf

    backbone = AdaptedBackbone(functional(), ["a", "b"])
    shift(backbone, "b")
    entry = keras.Input(X.shape[1:])
    model = keras.Model(entry, backbone(entry, domain="b"))
    model.export(tmp_path / "exported", verbose=False)
    again = tf.saved_model.load(tmp_path / "exported")
    np.testing.assert_allclose(numpy(again.serve(X)), numpy(model(X)), atol=1e-5)


def calls(trunk: keras.Model) -> list[str]:
    """Names of the layers whose call is not that of their class."""
    return [name for name, layer in leaves(trunk) if "call" in vars(layer)]


def test_the_trunk_calls_its_own_layers_again_afterwards() -> None:
    trunk = functional()
    expected = pooled(trunk, X)
    backbone = AdaptedBackbone(trunk, ["a"])
    shift(backbone, "a")
    backbone(X)
    assert not calls(trunk)
    np.testing.assert_array_equal(pooled(trunk, X), expected)


def test_the_trunk_is_left_alone_after_an_error_in_the_call() -> None:
    class Failing(keras.layers.Layer):
        fails = False

        def call(self, x):
            if self.fails:
                raise RuntimeError("stop")
            return x

    inner, last = functional(pooled=False), Failing()
    trunk = keras.Model(inner.input, last(inner.output))
    backbone = AdaptedBackbone(trunk, ["a"])
    backbone(X)
    last.fails = True
    with pytest.raises(RuntimeError, match="stop"):
        backbone(X)
    assert not calls(trunk)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"adapter": "serial"}, ValueError, "parallel.*copy.*Received: adapter='serial'"),
        ({"normalization": "group"}, ValueError, "shared.*new.*normalization='group'"),
        ({"placement": "fist"}, ValueError, "Received: 'fist'"),
        ({"placement": "even"}, ValueError, "'even' cannot be adapted"),
        ({"placement": "bn1"}, TypeError, "'bn1' cannot be adapted"),
        ({"layer_options": {"dense": {"rank": 1}}}, ValueError, r"parts of their own.*\['dense'\]"),
        ({"adapter_options": {"rank": 9}}, ValueError, "Received: rank=9"),
        ({"domains": ["a", "a"]}, ValueError, "each name once"),
        ({"domains": "a"}, TypeError, r"domains=\['a'\]"),
    ],
)
def test_bad_arguments_are_refused_and_leave_the_trunk(
    options: dict, error: type[Exception], words: str
) -> None:
    trunk = functional()
    with pytest.raises(error, match=words):
        AdaptedBackbone(trunk, **{"domains": ["a"], **options})
    assert trunk.trainable
    assert not calls(trunk)


def test_a_trunk_must_be_built_and_say_its_channels() -> None:
    with pytest.raises(ValueError, match="`trunk` must be built"):
        AdaptedBackbone(keras.Sequential([keras.layers.Conv2D(3, 3)]), ["a"])
    trunk = subclassed()
    trunk.filters = None
    with pytest.raises(ValueError, match="Set `trunk.filters`"):
        AdaptedBackbone(trunk, ["a"])


def test_a_trunk_without_convolutions_has_no_layer_to_choose() -> None:
    entry = keras.Input((3,))
    trunk = keras.Model(entry, keras.layers.Dense(2, name="dense")(entry))
    with pytest.raises(ValueError, match=r"at least one layer.*placement='all'"):
        AdaptedBackbone(trunk, ["a"])
    assert AdaptedBackbone(trunk, ["a"], placement="dense").adapted == ("dense",)


@pytest.mark.parametrize("domain", [None, "c"])
def test_unknown_domains_are_refused_with_the_known_ones(domain: str | None) -> None:
    trunk = functional()
    backbone = AdaptedBackbone(trunk, ["a", "b"])
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*Received: domain="):
        backbone(X, domain=domain)
    assert not calls(trunk)
