"""`TransformedBackbone`: what it computes, that it trains, that inference is the trunk's alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import Conv4, OmniNet, TransformedBackbone
from keras_univrep.models import OmniTraining
from tests.backbones import trunks

X = trunks.images()
ROWS = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")


def numpy(x: object) -> np.ndarray:
    return ops.convert_to_numpy(x)


def vectors() -> keras.Model:
    """Two layers with normalisations, functional."""
    x = inputs = keras.Input((6,))
    for number in (1, 2):
        x = keras.layers.Dense(5, name=f"dense{number}")(x)
        x = keras.layers.BatchNormalization(name=f"bn{number}")(x)
    return trunks.trained(keras.Model(inputs, x))


@pytest.mark.parametrize(("make", "x"), [(vectors, ROWS), (trunks.unnamed, X)])
def test_inference_is_the_trunk_and_training_is_not(make: object, x: np.ndarray) -> None:
    trunk = make()
    backbone = TransformedBackbone(trunk, seed=0)
    np.testing.assert_array_equal(numpy(backbone(x)), numpy(trunk(x)))
    plain = numpy(trunk(x, training=True))
    one, other = (numpy(backbone(x, training=True)) for _ in range(2))
    assert np.abs(one - plain).max() > 1e-3 and np.abs(one - other).max() > 1e-3
    # Nothing is left in the trunk.
    np.testing.assert_array_equal(numpy(trunk(x, training=True)), plain)


def test_scales_and_shifts_have_the_deviations_that_are_asked_for() -> None:
    inputs = keras.Input((2000,))
    normalization = keras.layers.BatchNormalization(epsilon=0.0, name="norm")
    trunk = keras.Model(inputs, normalization(inputs))
    backbone = TransformedBackbone(trunk, scale_deviation=0.3, shift_deviation=0.5, seed=1)
    # Behind the normalisation of two rows stand -1 and 1.
    low, high = numpy(backbone(np.array([[0.0] * 2000, [2.0] * 2000], "float32"), training=True))
    scale, shift = (high - low) / 2, (high + low) / 2
    for values, mean, deviation in ((scale, 1.0, 0.3), (shift, 0.0, 0.5)):
        # Five standard errors of 2000 draws.
        assert abs(values.mean() - mean) < 5 * deviation / 2000**0.5
        assert abs(values.std() - deviation) < 5 * deviation / 4000**0.5
    assert abs(np.corrcoef(scale, shift)[0, 1]) < 5 / 2000**0.5


def test_only_the_chosen_normalisations_are_transformed() -> None:
    trunk = vectors()
    assert list(TransformedBackbone(trunk).transformations) == ["bn1", "bn2"]
    backbone = TransformedBackbone(trunk, "bn2", seed=0)
    assert list(backbone.transformations) == ["bn2"]
    before, after = (numpy(model(ROWS, training=True)) for model in (trunk, backbone))
    # Each channel of the last normalisation is scaled and shifted, and nothing happens before it.
    scale = (after[1] - after[0]) / (before[1] - before[0])
    shift = after[0] - scale * before[0]
    np.testing.assert_allclose(after, scale * before + shift, atol=1e-4)
    assert np.abs(scale - 1.0).max() > 1e-2 and np.abs(shift).max() > 1e-2


def test_no_weight_is_added_that_trains() -> None:
    trunk = Conv4(4, image_size=16)
    backbone = TransformedBackbone(trunk)
    assert {id(v) for v in backbone.trainable_variables} == {
        id(v) for v in trunk.trainable_variables
    }
    assert backbone.filters == trunk.filters and backbone.channels == 3


def test_each_step_of_meta_training_draws_anew() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(4, dtype="int32") % 2
    episode = {
        f"{part}_{kind}": values
        for part in ("support", "query")
        for kind, values in (
            ("images", rng.normal(size=(4, 6)).astype("float32")),
            ("labels", labels),
        )
    }
    backbone = TransformedBackbone(vectors(), seed=0)
    model = OmniTraining(
        OmniNet(backbone), None, "prototypical", {"way": 2}, losses=["joint"], joint_terms=["meta"]
    )
    model.compile(keras.optimizers.SGD(0.0), jit_compile=keras.backend.backend() == "jax")
    losses = []
    for _ in range(3):
        logs = model.train_on_batch({"episode": episode}, return_dict=True)
        losses.append(float(logs["loss"]))
        model.reset_metrics()
    # The weights stand still: only the draws differ.
    assert np.isfinite(losses).all() and len(set(losses)) == 3


def test_it_is_saved_and_loaded(tmp_path: object) -> None:
    backbone = TransformedBackbone(trunks.unnamed(), "batch_norm.*", 0.2, 0.4, seed=3)
    backbone.save(tmp_path / "backbone.keras")
    again = keras.saving.load_model(tmp_path / "backbone.keras")
    np.testing.assert_allclose(numpy(again(X)), numpy(backbone(X)), atol=1e-6)
    assert len(again.transformations) == 1
    assert (again.scale_deviation, again.shift_deviation, again.seed) == (0.2, 0.4, 3)
    spec = again.compute_output_spec(keras.KerasTensor((None, *X.shape[1:])))
    assert spec.shape[-1] == backbone.filters


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="`trunk` must be built"):
        TransformedBackbone(keras.Sequential([keras.layers.BatchNormalization()]))
    with pytest.raises(ValueError, match="must match a normalisation .* Received: 'nothing'"):
        TransformedBackbone(vectors(), "nothing")
    with pytest.raises(ValueError, match="`shift_deviation` must be positive. Received: .*=0.0"):
        TransformedBackbone(vectors(), shift_deviation=0.0)
    inputs = keras.Input((3, 4, 4))
    trunk = keras.Model(inputs, keras.layers.BatchNormalization(axis=1)(inputs))
    with pytest.raises(ValueError, match="must have its channels last. .*axis=1"):
        TransformedBackbone(trunk)
