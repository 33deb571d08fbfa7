"""`SimCLR`: the loss of its views, what it trains, and the backbone that is left."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import BatchNormalization
from keras_univrep.losses import NTXent
from keras_univrep.models import SimCLR
from tests.models.toys import draw_weights, numpy

RNG = np.random.default_rng(0)
VIEWS = {name: RNG.normal(size=(6, 8, 8, 2)).astype("float32") for name in ("first", "second")}


def backbone(named: bool = False) -> keras.Model:
    images = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(images)
    x = keras.layers.ReLU()(BatchNormalization()(x))
    return draw_weights(keras.Model(images, {"level1": x} if named else x), 0)


def test_projections_and_loss_are_those_of_the_formula() -> None:
    model = SimCLR(backbone(), units=3, hidden_units=5, temperature=0.5)
    model.compile("sgd")
    z = model.predict_on_batch(VIEWS).astype("float64")
    w_1, b_1 = (numpy(v) for v in (model.hidden.kernel, model.hidden.bias))
    w_2 = numpy(model.projection.kernel)
    for side, images in enumerate(VIEWS.values()):
        h = model.backbone.predict_on_batch(images).astype("float64").mean((1, 2))
        if side == 0:
            np.testing.assert_allclose(numpy(model.features(images)), h, rtol=1e-4, atol=1e-5)
        right = np.maximum(h @ w_1 + b_1, 0) @ w_2
        np.testing.assert_allclose(z[:, side], right, rtol=1e-3, atol=1e-5)
    loss = float(NTXent(0.5)(z[:, 0], z[:, 1]))
    assert model.evaluate(VIEWS, batch_size=6, verbose=0) == pytest.approx(loss, rel=1e-3)


def test_training_lowers_the_loss_and_moves_the_backbone_that_was_given() -> None:
    network = backbone(named=True)
    before = [numpy(v) for v in network.trainable_variables]
    model = SimCLR(network, level="level1", hidden_units=16, units=4)
    draw_weights(model.hidden, 1)
    draw_weights(model.projection, 2)
    model.compile(keras.optimizers.Adam(0.02))
    same = {"first": VIEWS["first"], "second": VIEWS["first"] + 0.1 * VIEWS["second"]}
    losses = model.fit(same, epochs=12, batch_size=6, verbose=0).history["loss"]
    assert losses[-1] < 0.7 * losses[0]
    after = [numpy(v) for v in network.trainable_variables]
    assert all(np.abs(a - b).max() > 0 for a, b in zip(after, before))


def test_views_of_a_layer_differ_from_each_other_and_from_step_to_step(
    tmp_path: pathlib.Path,
) -> None:
    augmentation = keras.Sequential(
        [keras.layers.RandomFlip("horizontal", seed=1), keras.layers.GaussianNoise(0.5, seed=2)]
    )
    model = SimCLR(backbone(), augmentation, units=4)
    model.compile("sgd")
    first, second = (numpy(model(VIEWS["first"])) for _ in range(2))
    assert np.abs(first[:, 0] - first[:, 1]).max() > 1e-4
    assert np.abs(first - second).max() > 1e-4
    assert np.isfinite(model.fit(VIEWS["first"], batch_size=6, verbose=0).history["loss"][0])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for name in ("name", "level", "hidden_units", "units", "temperature"):
        assert loaded.get_config()[name] == model.get_config()[name]
    x = VIEWS["second"]
    np.testing.assert_array_equal(numpy(loaded.features(x)), numpy(model.features(x)))


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: images with augmentation=None"):
        SimCLR(backbone())(VIEWS["first"])
    with pytest.raises(ValueError, match=r"level=None, where there are \['level1'\]"):
        SimCLR(backbone(named=True))
    with pytest.raises(ValueError, match=r"Received: \['first', 'second'\]"):
        SimCLR(backbone(), keras.layers.GaussianNoise(0.1))(VIEWS)
    assert ops.shape(SimCLR(backbone(), units=2)(VIEWS)) == (6, 2, 2)
