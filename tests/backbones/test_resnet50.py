"""`ResNet50` has the published numbers of parameters, its levels, and a configuration."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import ResNet50
from keras_univrep.compression import prune


def count(network: keras.Model) -> int:
    """As PyTorch counts: without moving statistics."""
    return sum(int(np.prod(v.shape)) for v in network.trainable_variables)


# torchvision's numbers with the classifier of 1000 classes.
@pytest.mark.parametrize(("depth", "parameters"), [(50, 25_557_032), (152, 60_192_808)])
def test_parameters_are_the_published_number(depth: int, parameters: int) -> None:
    assert count(ResNet50(depth)) + 2048 * 1000 + 1000 == parameters


def test_half_network_has_half_the_parameters() -> None:
    assert count(ResNet50(width=0.5**0.5)) / (25_557_032 - 2_049_000) == pytest.approx(
        0.5, rel=0.01
    )


def test_levels_have_their_strides_and_channels() -> None:
    network = ResNet50(width=0.0625)
    # Sides that do not divide are rounded up.
    found = {n: tuple(y.shape) for n, y in network(np.ones((1, 64, 37, 3), "float32")).items()}
    assert found == {
        "level2": (1, 16, 10, 16),
        "level3": (1, 8, 5, 32),
        "level4": (1, 4, 3, 64),
        "level5": (1, 2, 2, 128),
    }
    assert [network.get_layer(name).output.shape[-1] for name in found] == [16, 32, 64, 128]


@pytest.mark.parametrize("stride", [16, 8])
def test_denser_maps_hold_those_of_the_strided_network(stride: int) -> None:
    strided, dense = ResNet50(width=0.0625), ResNet50(width=0.0625, output_stride=stride)
    dense.set_weights(strided.get_weights())
    x = np.random.default_rng(0).normal(size=(1, 64, 64, 3)).astype("float32")
    few, many = strided.predict_on_batch(x), dense.predict_on_batch(x)
    assert many["level5"].shape[1:3] == (64 // stride, 64 // stride)
    for number in (4, 5):
        step = max(1, 2**number // stride)
        found = many[f"level{number}"][:, ::step, ::step]
        np.testing.assert_allclose(found, few[f"level{number}"], rtol=1e-3, atol=1e-4)
    assert dense.get_config()["output_stride"] == stride


def test_pooled_features_are_the_mean_of_the_last_map() -> None:
    network = ResNet50(width=0.0625, pooling="avg")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    view = keras.Model(network.input, network.get_layer("level5").output)
    right = ops.convert_to_numpy(view(x)).mean((1, 2))
    np.testing.assert_allclose(ops.convert_to_numpy(network(x)), right, rtol=1e-4, atol=1e-6)
    assert network.filters == right.shape[-1] == 128


def test_saves_its_arguments_and_what_was_pruned(tmp_path: pathlib.Path) -> None:
    network = prune(ResNet50(width=0.0625, channels=1, pooling="avg"), 0.5)
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.get_config() == network.get_config()
    x = np.ones((1, 32, 32, 1), "float32")
    np.testing.assert_array_equal(ops.convert_to_numpy(loaded(x)), ops.convert_to_numpy(network(x)))
    kernel = loaded.get_layer("level5_block1_unit2_conv").kernel
    mask = ops.convert_to_numpy(kernel) != 0
    assert 0 < mask.sum() < mask.size
    np.testing.assert_array_equal(
        ops.convert_to_numpy(kernel.constraint(ops.ones(kernel.shape))), mask
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 34}, "depth=34"),
        ({"width": 0}, "width=0"),
        ({"pooling": "max"}, "'max'"),
        ({"output_stride": 4}, "output_stride=4"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResNet50(**arguments)
