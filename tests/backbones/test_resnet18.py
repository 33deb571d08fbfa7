"""`ResNet18`: the published size, the network of the paper in NumPy, both paddings."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import AdaptedBackbone, ResNet18, adaptable_layers
from keras_univrep.models import MultiDomainModel
from tests import oracles
from tests.harness import bits, check_config, randomize, weights_of

RNG = np.random.default_rng(0)
TINY = 0.0625


def images(count: int = 2, size: int = 16) -> np.ndarray:
    return RNG.normal(size=(count, size, size, 3)).astype("float32")


def trainable(network: keras.Model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)


def test_backbone_has_the_published_size() -> None:
    network = ResNet18()
    assert trainable(network) == 11_171_904
    statistics = sum(int(np.prod(v.shape)) for v in network.non_trainable_variables)
    assert statistics == 9_600
    assert network.filters == 512


def test_width_scales_all_channels() -> None:
    sizes = [16, 32, 64, 128]
    count, channels = 25 * 3 * 16 + 2 * 16, 16
    for filters in sizes:
        count += 9 * channels * filters + 3 * 9 * filters**2 + 4 * 2 * filters
        count += 0 if channels == filters else channels * filters + 2 * filters
        channels = filters
    assert trainable(ResNet18(width=0.25)) == count


def pad(x: np.ndarray, size: int) -> np.ndarray:
    return np.pad(x, [(0, 0), (size, size), (size, size), (0, 0)])


def oracle(x: np.ndarray, w: dict[str, np.ndarray], padding: int, training: bool) -> np.ndarray:
    """The features, (batch, channels), from the description in the paper."""

    def unit(x: np.ndarray, name: str, stride: int, padding: int) -> np.ndarray:
        y = oracles.convolution(pad(x, padding), w[f"{name}/convolution/kernel"], stride)
        gamma, beta, mean, variance = (
            w[f"{name}/normalization/{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return oracles.normalization(y, gamma, beta, None if training else (mean, variance))

    x = np.maximum(unit(x, "stem", 2, padding), 0)
    for stage in range(1, 5):
        for number in (1, 2):
            name, halved = f"stage{stage}_block{number}", stage > 1 and number == 1
            y = np.maximum(unit(x, f"{name}/unit1", 2 if halved else 1, 1), 0)
            y = unit(y, f"{name}/unit2", 1, 1)
            x = np.maximum(y + (unit(x, f"{name}/projection", 2, 0) if halved else x), 0)
    return x.mean(axis=(1, 2))


@pytest.mark.parametrize(("padding", "training", "size"), [(1, False, 19), (2, True, 32)])
def test_forward_is_the_network_of_the_paper(padding: int, training: bool, size: int) -> None:
    network = ResNet18(stem_padding=padding, width=TINY)
    randomize(network)
    x = images(3, size)
    expected = oracle(x.astype("float64"), weights_of(network), padding, training)
    actual = ops.convert_to_numpy(network(x, training=training))
    np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_paddings_give_the_released_grids_for_images_of_84() -> None:
    x = images(1, 84)
    for padding, grid in ((1, 41), (2, 42)):
        network = ResNet18(stem_padding=padding, width=TINY)
        assert ops.relu(network.stem(x)).shape[1:3] == (grid, grid)


@pytest.mark.parametrize("size", [3, 20, 37])
def test_shapes_are_known_for_every_size(size: int) -> None:
    for padding in (1, 2):
        network = ResNet18(stem_padding=padding, width=TINY, pooling=None)
        x = images(1, size)
        expected = network.compute_output_spec(keras.KerasTensor((None, size, size, 3))).shape
        assert tuple(network(x).shape[1:]) == expected[1:]
    assert network(keras.Input((None, None, 3))).shape == (None, None, None, 32)


def test_pooling_is_the_mean_over_positions() -> None:
    x = images(size=40)
    network = ResNet18(width=TINY)
    pooled = ops.convert_to_numpy(network(x))
    network.pooling = None
    maps = ops.convert_to_numpy(network(x))
    assert maps.shape == (2, 3, 3, 32)
    np.testing.assert_allclose(pooled, maps.mean((1, 2)), rtol=1e-5, atol=1e-6)


def test_weights_go_from_one_padding_to_the_other() -> None:
    trained, tested = ResNet18(stem_padding=2, width=TINY), ResNet18(width=TINY)
    randomize(trained)
    tested.initialize_from(trained)
    for value, other in zip(bits(trained).values(), bits(tested).values()):
        np.testing.assert_array_equal(value, other)
    x = images(size=32)
    assert not np.allclose(ops.convert_to_numpy(trained(x)), ops.convert_to_numpy(tested(x)))
    with pytest.raises(ValueError, match="width=0.0625, channels=3; here 0.125"):
        ResNet18(width=0.125).initialize_from(trained)


def test_adapters_attach_to_it() -> None:
    network = ResNet18(width=TINY)
    randomize(network)
    names = adaptable_layers(network)
    assert len(names) == 20
    assert names[0] == "stem/convolution"
    assert "stage2_block1/projection/convolution" in names
    x = images()
    before = ops.convert_to_numpy(network(x))
    adapted = AdaptedBackbone(network, ["a", "b"])
    assert len(adapted.adapted) == 17
    np.testing.assert_allclose(ops.convert_to_numpy(adapted(x, domain="b")), before, atol=1e-5)


def test_a_network_of_several_domains_takes_it() -> None:
    model = MultiDomainModel(ResNet18(width=TINY), {"photo": 5, "sketch": 3})
    assert not model.depends_on_domain
    logits = model({"photo": images(), "sketch": images(3)})
    assert tuple(logits["photo"].shape) == (2, 5)
    assert tuple(logits["sketch"].shape) == (3, 3)


def test_a_step_moves_every_weight() -> None:
    network = ResNet18(width=TINY)
    entry = keras.Input((16, 16, 3))
    model = keras.Model(entry, network(entry))
    model.compile(keras.optimizers.SGD(0.1), loss="mean_squared_error")
    before = bits(network)
    model.fit(images(4), np.ones((4, 32), "float32"), 4, verbose=0)
    still = {path for path, value in bits(network).items() if np.array_equal(value, before[path])}
    assert not still


def test_a_saved_network_comes_back_bit_for_bit(tmp_path: pathlib.Path) -> None:
    network = ResNet18(2, width=TINY, channels=1, pooling=None, name="trunk")
    randomize(network)
    check_config(network)
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert loaded.get_config() == network.get_config()
    before, after = bits(network), bits(loaded)
    assert list(before) == list(after)
    for path in before:
        np.testing.assert_array_equal(before[path], after[path], err_msg=path)


def test_mixed_precision_reaches_every_part() -> None:
    x = images()
    exact, mixed = ResNet18(width=TINY), ResNet18(width=TINY, dtype="mixed_bfloat16")
    mixed.set_weights([np.array(value) for value in exact.get_weights()])
    assert {part.compute_dtype for part in mixed._flatten_layers()} == {"bfloat16"}
    assert {variable.dtype for variable in mixed.trainable_variables} == {"float32"}
    features = mixed(x)
    assert keras.backend.standardize_dtype(features.dtype) == "bfloat16"
    expected = ops.convert_to_numpy(exact(x))
    actual = ops.convert_to_numpy(ops.cast(features, "float32"))
    assert np.linalg.norm(actual - expected) < 0.1 * np.linalg.norm(expected)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stem_padding": 0}, r"\[1, 2\].*Received: stem_padding=0"),
        ({"pooling": "max"}, "Received: pooling='max'"),
        ({"width": 0.0}, "Received: width=0.0"),
    ],
)
def test_bad_arguments_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ResNet18(**{"width": TINY, **options})


@pytest.mark.parametrize("shape", [(1, 2, 16, 3), (1, 16, 16, 1), (16, 16, 3)])
def test_images_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="from 3 on. Received: shape="):
        ResNet18(width=TINY)(np.zeros(shape, "float32"))
