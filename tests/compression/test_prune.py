"""Pruning drops exactly the smallest weights, and they stay dropped."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import ResNet26
from keras_univrep.compression import prune
from tests.models.expansions import Stream, backbone, expansion
from tests.models.toys import weights

KERNELS = ("level1_conv", "level2_conv")


def kernels(model: keras.Model) -> list[np.ndarray]:
    return [np.array(ops.convert_to_numpy(model.get_layer(name).kernel)) for name in KERNELS]


def zeros(values: list[np.ndarray]) -> list[np.ndarray]:
    return [value == 0 for value in values]


# 54 and 108 weights.
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.77, 0.99])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_exactly_the_smallest_weights_are_dropped(sparsity: float, scope: str) -> None:
    model = backbone(0)
    before = weights(model)
    old, new = kernels(model), kernels(prune(model, sparsity, scope))
    dropped = zeros(new)
    if scope == "global":
        assert sum(d.sum() for d in dropped) == round(sparsity * 162)
    else:
        assert [d.sum() for d in dropped] == [round(sparsity * 54), round(sparsity * 108)]
    for a, b, gone in zip(old, new, dropped, strict=True):
        np.testing.assert_array_equal(np.where(gone, 0.0, a), b)
    groups = [range(2)] if scope == "global" else [[0], [1]]
    for group in groups:
        lost = np.concatenate([np.abs(old[n][dropped[n]]) for n in group])
        kept = np.concatenate([np.abs(old[n][~dropped[n]]) for n in group])
        assert lost.max(initial=0.0) < kept.min()
    for a, b in zip(before, weights(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_equal_magnitudes_are_counted_exactly() -> None:
    model = backbone(0)
    for name in KERNELS:
        kernel = model.get_layer(name).kernel
        kernel.assign(np.ones(tuple(kernel.shape)))
    assert sum(d.sum() for d in zeros(kernels(prune(model, 0.3)))) == round(0.3 * 162)


def train(model: keras.Model) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 8, 8, 2)).astype("float32")
    model.fit(x, rng.normal(size=(8, 2, 2, 4)).astype("float32"), batch_size=4, verbose=0)


def test_dropped_weights_survive_training_and_saving(tmp_path: pathlib.Path) -> None:
    pruned = prune(backbone(0), 0.6)
    before = kernels(pruned)
    pruned.compile(keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01), "mse")
    train(pruned)
    after = kernels(pruned)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a == 0, b == 0)
        assert np.all(a[a != 0] != b[a != 0])
    pruned.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.get_layer(KERNELS[0])) is type(pruned.get_layer(KERNELS[0]))
    train(loaded)
    for a, b in zip(after, kernels(loaded), strict=True):
        np.testing.assert_array_equal(a == 0, b == 0)
        assert not np.array_equal(a, b)


def test_pruning_on_keeps_what_is_zero() -> None:
    once = prune(backbone(0), 0.4)
    twice = prune(once, 0.7)
    first, second = zeros(kernels(once)), zeros(kernels(twice))
    assert sum(d.sum() for d in second) == round(0.7 * 162)
    assert all(np.all(b[a]) for a, b in zip(first, second, strict=True))


def test_chosen_layers_alone_are_pruned() -> None:
    pruned = prune(backbone(0), 0.5, choose=lambda layer: layer.name == KERNELS[1])
    assert [d.sum() for d in zeros(kernels(pruned))] == [0, 54]


def test_an_expanded_network_keeps_its_masks(tmp_path: pathlib.Path) -> None:
    model = expansion(tau=0, heads={
        "classes": {"photos": keras.layers.Conv2D(3, 1)},
        "parts": {"scenes": keras.layers.Conv2D(2, 1)},
    })  # fmt: skip
    pruned = prune(model, 0.5)

    def dropped(network: keras.Model) -> list[np.ndarray]:
        parts = [b.get_layer(n) for b in network.expanded.backbones for n in KERNELS]
        parts += [c for layer in network.reconciliation_layers for c in layer.convolutions]
        parts += network.heads
        return zeros([np.array(ops.convert_to_numpy(part.kernel)) for part in parts])

    before = dropped(pruned)
    count = sum(d.size for d in before)
    assert sum(d.sum() for d in before) == round(0.5 * count)
    pruned.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    mse = {"classes": "mse", "parts": "mse"}
    loaded.compile(keras.optimizers.SGD(0.1, momentum=0.9), mse)
    x, y = Stream(1)[0]
    x["classes"].pop("birds")
    loaded.train_on_batch(x, {**y, "classes": {"photos": np.ones((4, 2, 2, 3), "float32")}})
    after = dropped(loaded)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1.0,), "sparsity=1.0"), ((-0.1,), "sparsity=-0.1"), ((0.5, "filter"), "scope='filter'")],
)
def test_wrong_arguments_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prune(backbone(0), *arguments)


def test_layers_that_would_lose_their_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="ResNet26.*functional model"):
        prune(ResNet26(width=0.125))


def test_frozen_layers_are_left() -> None:
    model = backbone(0)
    model.get_layer(KERNELS[0]).trainable = False
    assert [d.sum() for d in zeros(kernels(prune(model, 0.5)))] == [0, 54]
    model.trainable = False
    with pytest.raises(ValueError, match="Unfreeze"):
        prune(model)
