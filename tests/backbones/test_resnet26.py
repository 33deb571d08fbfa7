"""`ResNet26`: the sizes of the papers, the numbers of their released code, domains apart."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import ResNet26
from keras_univrep.layers import (
    BatchNormalization,
    DomainBatchNormalization,
    ParallelAdapter,
    SeriesAdapter,
)
from tests.golden_network import golden_dense, golden_images, set_golden_weights
from tests.harness import bits, check_config, randomize

RNG = np.random.default_rng(0)
BACKBONE, END = 5_814_688, 7_744
SMALL = {"width": 0.125, "domains": ["a", "b"]}


def images(count: int = 2, size: int = 16) -> np.ndarray:
    return RNG.normal(size=(count, size, size, 3)).astype("float32")


def trainable(network: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


def test_backbone_has_the_published_size() -> None:
    network = ResNet26()
    assert trainable(network) == BACKBONE
    convolutions = [v for v in network.trainable_variables if v.path.endswith("kernel")]
    assert sum(int(np.prod(v.shape)) for v in convolutions) == 5_806_944


@pytest.mark.parametrize(
    ("options", "per_domain"),
    [
        ({"normalization": "domain"}, 0),
        ({"adapter": "parallel"}, 645_216),
        ({"adapter": "series"}, 696_384),
        ({"adapter": "parallel", "placement": "half"}, 344_064),
        ({"adapter": "parallel", "placement": ["stem", "half"]}, 344_064 + 96),
        ({"adapter": "parallel", "placement": "early"}, 30_720),
        ({"adapter": "parallel", "placement": "mid"}, 122_880),
        ({"adapter": "parallel", "placement": "late"}, 491_520),
        ({"adapter": "parallel", "placement": ["stem", "early", "mid", "late"]}, 645_216),
    ],
)
@pytest.mark.parametrize("domains", [["a"], ["a", "b"]])
def test_each_domain_adds_the_published_size(
    domains: list[str], options: dict, per_domain: int
) -> None:
    shared = BACKBONE - END
    expected = shared + len(domains) * (END + per_domain)
    assert trainable(ResNet26(domains=domains, **options)) == expected


def test_shared_normalisation_under_adapters_is_counted_once() -> None:
    network = ResNet26(domains=["a", "b"], adapter="parallel", normalization="shared")
    assert trainable(network) == BACKBONE + 2 * 645_216


@pytest.mark.parametrize("width", [0.25, 0.5, 2.5])
def test_width_scales_all_channels(width: float) -> None:
    network = ResNet26(width=width)
    sizes = [int(width * size) for size in (32, 64, 128, 256)]
    count, channels = 9 * 3 * sizes[0] + 2 * sizes[0], sizes[0]
    for filters in sizes[1:]:
        # A wider convolution into the stage, seven within it, eight normalisations.
        count += 9 * channels * filters + 7 * 9 * filters**2 + 8 * 2 * filters
        channels = filters
    assert trainable(network) == count + 2 * channels
    assert network.filters == channels


@pytest.mark.parametrize("placement", ["all", "half", "stem", "early", "mid", "late"])
def test_placement_chooses_the_convolutions(placement: str) -> None:
    network = ResNet26(adapter="parallel", placement=placement, **SMALL)
    units = {"stem": network.stem}
    for block in network.blocks:
        units |= {f"{block.name}_1": block.unit1, f"{block.name}_2": block.unit2}
    adapted = {name for name, u in units.items() if isinstance(u.convolution, ParallelAdapter)}
    chosen = {
        "all": lambda name: True,
        "half": lambda name: name != "stem" and name.endswith("_2"),
    }.get(placement, lambda name: name.startswith(placement))
    assert adapted == {name for name in units if chosen(name)}
    assert len(units) == 25


# Features' norm and first logits of the first image, computed once with the released networks.
GOLDEN = {
    "plain, eval": ({}, False, 512.866137, [-11.908376, 53.852516, 10.084375]),
    "plain, train": ({}, True, 7.198030, [-0.085565, 1.243079, 0.292200, -0.836764]),
    "parallel": ({"adapter": "parallel"}, True, 7.014330, [-0.088135, 1.242731, 0.196600]),
    "half": (
        {"adapter": "parallel", "placement": ["stem", "half"]},
        True,
        6.414971,
        [-0.011155, 0.899259],
    ),
    "series": ({"adapter": "series"}, True, 8.031367, [0.305395, 1.251090, 0.099089]),
    "li2022, eval": (
        {"normalization": "shared", "end_activation": False},
        False,
        512.866137,
        [-11.908376, 53.852516, 10.084375],
    ),
    "li2022, train": (
        {"normalization": "shared", "end_activation": False},
        True,
        2.666003,
        [-0.155308, 0.178157, 0.020468],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_gives_the_numbers_of_the_released_network(name: str) -> None:
    options, training, norm, logits = GOLDEN[name]
    network = ResNet26(**{"domains": ["a"], "normalization": "domain", **options})
    set_golden_weights(network)
    x = golden_images().astype("float32")
    features = ops.convert_to_numpy(network(x, domain="a", training=training))
    assert features.shape == (2, 256)
    np.testing.assert_allclose(np.linalg.norm(features[0]), norm, rtol=1e-5)
    actual = (features[0] @ golden_dense(256, 10))[: len(logits)]
    np.testing.assert_allclose(actual, logits, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("adapter", ["parallel", "series"])
def test_zero_adapters_leave_the_network_as_it_was(adapter: str) -> None:
    x = images()
    plain = ResNet26(normalization="domain", **SMALL)
    adapted = ResNet26(adapter=adapter, **SMALL)
    kernels = [v for v in adapted.weights if v.path.endswith("convolution/kernel")]
    originals = [v for v in plain.weights if v.path.endswith("convolution/kernel")]
    assert len(kernels) == len(originals) == 25
    for variable, original in zip(kernels, originals):
        variable.assign(original)
    for training in (False, True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(adapted(x, domain="a", training=training)),
            ops.convert_to_numpy(plain(x, domain="a", training=training)),
            atol=1e-6,
        )


@pytest.mark.parametrize("adapter", ["parallel", "series"])
def test_weights_of_one_domain_leave_the_others_bit_for_bit(adapter: str) -> None:
    x = images()
    network = ResNet26(adapter=adapter, adapter_initializer="glorot_normal", **SMALL)
    before = {domain: ops.convert_to_numpy(network(x, domain=domain)) for domain in "ab"}
    for variable in network.trainable_variables:
        if of_b(variable.path):
            variable.assign(variable + 0.1)
    np.testing.assert_array_equal(ops.convert_to_numpy(network(x, domain="a")), before["a"])
    assert not np.allclose(ops.convert_to_numpy(network(x, domain="b")), before["b"])


def of_b(path: str) -> bool:
    """Whether a variable belongs to the domain "b"."""
    return "adapter_b/" in path or "normalization_b/" in path


def test_training_on_one_domain_moves_its_statistics_only() -> None:
    network = ResNet26(adapter="series", **SMALL)
    before = bits(network)
    network(images(), domain="b", training=True)
    moved = {p for p, value in bits(network).items() if not np.array_equal(value, before[p])}
    assert moved
    assert moved == {path for path in before if of_b(path) and "/moving_" in path}


def test_every_weight_has_a_gradient_or_belongs_to_another_domain() -> None:
    network = ResNet26(adapter="parallel", adapter_initializer="glorot_normal", **SMALL)
    entry = keras.Input((16, 16, 3))
    model = keras.Model(entry, network(entry, domain="a"))
    model.compile(keras.optimizers.SGD(0.1), loss="mean_squared_error")
    before = bits(network)
    model.fit(images(4), np.ones((4, 32)), 4, verbose=0)
    moved = {p for p, value in bits(network).items() if not np.array_equal(value, before[p])}
    others = {path for path in before if of_b(path)}
    assert moved == set(before) - others


@pytest.mark.parametrize("adapter", [None, "parallel", "series"])
def test_a_saved_network_comes_back_bit_for_bit(
    adapter: str | None, tmp_path: pathlib.Path
) -> None:
    network = ResNet26(
        adapter=adapter,
        placement=["half", "early"],
        end_activation=False,
        pooling=None,
        name="trunk",
        **SMALL,
    )
    randomize(network)
    check_config(network)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert loaded.get_config() == network.get_config()
    before, after = bits(network), bits(loaded)
    assert list(before) == list(after)
    for path in before:
        np.testing.assert_array_equal(before[path], after[path], err_msg=path)
    x = images()
    np.testing.assert_array_equal(
        ops.convert_to_numpy(network(x, domain="b")), ops.convert_to_numpy(loaded(x, domain="b"))
    )


def test_a_folded_network_has_biases_in_place_of_normalisations() -> None:
    network = ResNet26(normalization="folded", width=0.125, domains=["a"], adapter="parallel")
    plain = ResNet26(width=0.125, domains=["a"], adapter="parallel", normalization="shared")
    # Half of the trainable parameters of the normalisations, but for the last one.
    assert trainable(plain) - trainable(network) == 7_232 // 8 // 2
    check_config(network)
    with pytest.raises(ValueError, match="Received: normalization='folded'; here 'shared'"):
        plain.initialize_from(network)
    with pytest.raises(ValueError, match="normalization='shared'; here 'folded'"):
        network.initialize_from(plain)


@pytest.mark.parametrize("pooling", ["avg", None])
def test_shapes_are_known_where_the_size_of_the_images_is_not(pooling: str | None) -> None:
    network = ResNet26(width=0.125, pooling=pooling)
    for size in (None, 16):
        entry = keras.Input((size, size, 3))
        model = keras.Model(entry, network(entry))
        maps = (None, size and 2, size and 2, 32)
        assert model.output_shape == ((None, 32) if pooling else maps)
        x = images(size=16)
        expected = ops.convert_to_numpy(network(x))
        np.testing.assert_allclose(ops.convert_to_numpy(model(x)), expected, atol=1e-6)
    with pytest.raises(ValueError, match="multiples of 8"):
        network(keras.Input((12, 12, 3)))


def test_pooling_is_the_mean_over_positions() -> None:
    x = images(size=24)
    network = ResNet26(width=0.125)
    pooled = ops.convert_to_numpy(network(x))
    network.pooling = None
    maps = ops.convert_to_numpy(network(x))
    assert maps.shape == (2, 3, 3, 32)
    np.testing.assert_allclose(pooled, maps.mean((1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("adapter", [None, "parallel", "series"])
def test_mixed_precision_reaches_every_part(adapter: str | None) -> None:
    x = images()
    exact = ResNet26(adapter=adapter, adapter_initializer="glorot_normal", **SMALL)
    mixed = ResNet26(
        adapter=adapter, adapter_initializer="glorot_normal", dtype="mixed_bfloat16", **SMALL
    )
    mixed.set_weights(exact.get_weights())
    parts = mixed._flatten_layers()
    assert {part.compute_dtype for part in parts} == {"bfloat16"}
    assert {variable.dtype for variable in mixed.trainable_variables} == {"float32"}
    features = mixed(x, domain="a", training=True)
    assert keras.backend.standardize_dtype(features.dtype) == "bfloat16"
    expected = ops.convert_to_numpy(exact(x, domain="a", training=True))
    actual = ops.convert_to_numpy(ops.cast(features, "float32"))
    # Three significant digits at best, and 25 layers of them.
    assert np.linalg.norm(actual - expected) < 0.1 * np.linalg.norm(expected)


def test_dropout_acts_in_training_only() -> None:
    x = images()
    network = ResNet26(adapter="parallel", adapter_initializer="ones", dropout=0.5, **SMALL)
    first, second = (ops.convert_to_numpy(network(x, domain="a")) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    first, second = (ops.convert_to_numpy(network(x, domain="a", training=True)) for _ in range(2))
    assert not np.allclose(first, second)


def test_normalisation_is_by_domain_where_there_are_adapters() -> None:
    assert isinstance(ResNet26(**SMALL).stem.normalization, BatchNormalization)
    adapted = ResNet26(adapter="series", **SMALL)
    assert isinstance(adapted.stem.normalization, DomainBatchNormalization)
    assert isinstance(adapted.stem.convolution, SeriesAdapter)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"adapter": "serial"}, "parallel.*series.*Received: adapter='serial'"),
        ({"placement": "first"}, "Received: placement='first'"),
        ({"normalization": "group"}, "Received: normalization='group'"),
        ({"pooling": "max"}, "Received: pooling='max'"),
        ({"domains": None, "adapter": "parallel"}, "domains=None, adapter='parallel'"),
        ({"domains": None, "normalization": "domain"}, r"Pass domains=\[...\]"),
        ({"adapter": "series", "dropout": 0.5}, "dropout=0.5, adapter='series'"),
    ],
)
def test_bad_arguments_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ResNet26(**{**SMALL, **options})


@pytest.mark.parametrize("domain", [None, "c"])
def test_unknown_domains_are_refused_with_the_known_ones(domain: str | None) -> None:
    network = ResNet26(adapter="parallel", **SMALL)
    with pytest.raises(ValueError, match=r"\['a', 'b'\].*Received: domain="):
        network(images(), domain=domain)


@pytest.mark.parametrize("shape", [(1, 17, 16, 3), (1, 16, 12, 3), (1, 16, 16, 1), (16, 16, 3)])
def test_images_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="multiples of 8.*Received: shape="):
        ResNet26(width=0.125)(np.zeros(shape, "float32"))
