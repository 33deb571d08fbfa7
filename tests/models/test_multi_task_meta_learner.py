"""`MultiTaskMetaLearner`: whose gradient goes where, and ANIL where nothing modulates."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.layers import (
    AttentionModulator,
    BatchNormalization,
    ProbabilisticAttentionModulator,
)
from keras_univrep.models import ANIL, MultiTaskMetaLearner
from tests import harness
from tests.models import meta_tasks as toys

LOSSES = {"bend": "mse", "sign": keras.losses.BinaryCrossentropy(from_logits=True)}


def batch(seed: int = 0) -> dict[str, toys.Arrays]:
    bend, sign = toys.tasks(3, seed=seed), toys.tasks(3, 5, 4, seed=seed + 1)
    sign = {part: (x, (y > 0).astype("float32")) for part, (x, y) in sign.items()}
    return {"bend": bend, "sign": sign}


def parts() -> tuple[keras.Model, dict[str, keras.Model]]:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((2,))
    x = BatchNormalization(name="norm")(keras.layers.Dense(4, name="dense")(inputs))
    backbone = keras.Model(inputs, keras.layers.Activation("tanh")(x))
    heads = {
        task: keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(1, name="out")], name=f"{task}_head"
        )
        for task in LOSSES
    }
    return backbone, heads


def modulator(kind: type, name: str, trained: bool) -> keras.Layer:
    layer = kind(4, units=3, labels="vector", label_size=1, name=name)
    layer.build((None, None, 4))
    if trained:
        harness.randomize(layer, 3)
    return layer


def make(
    kind: type | None = AttentionModulator, trained: bool = True, **arguments: object
) -> MultiTaskMetaLearner:
    backbone, heads = parts()
    modulators = {} if kind is None else {"bend": modulator(kind, "bend_modulator", trained)}
    return MultiTaskMetaLearner(
        backbone, heads, modulators, steps=2, learning_rate=0.3, **arguments
    )


def steps_of(model: MultiTaskMetaLearner, data: dict, **arguments: object) -> dict[str, np.ndarray]:
    """What one step of plain gradient descent takes from each variable."""
    model.compile(keras.optimizers.SGD(1.0), LOSSES, **arguments)
    before = {v.path: ops.convert_to_numpy(v) for v in model.trainable_variables}
    model.train_on_batch(data)
    return {v.path: before[v.path] - ops.convert_to_numpy(v) for v in model.trainable_variables}


def test_backbone_and_heads_learn_as_without_modulators_and_as_anil() -> None:
    data = batch()
    with_one, without = steps_of(make(), data), steps_of(make(None), data)
    for path, step in without.items():
        np.testing.assert_allclose(with_one[path], step, rtol=1e-3, atol=1e-5, err_msg=path)
    backbone, heads = parts()
    alone = {}
    for task, loss in LOSSES.items():
        model = ANIL(backbone, heads[task], 2, 0.3)
        model.compile(keras.optimizers.SGD(1.0), loss)
        alone[task] = toys.loss_and_gradients(model, data[task])[1]
    paths = [v.path for v in backbone.trainable_variables]
    # Eq. 3: the gradients of the tasks are summed.
    toys.close([without[path] for path in paths],
               [a + b for a, b in zip(alone["bend"], alone["sign"])][: len(paths)])  # fmt: skip
    toys.close([step for path, step in without.items() if path.startswith("sign_head")],
               alone["sign"][len(paths) :])  # fmt: skip


def test_a_modulator_learns_from_the_modulated_loss_alone() -> None:
    data, model = batch(), make()
    steps = steps_of(make(), data)
    model.compile(keras.optimizers.SGD(1.0), LOSSES)
    names = ("projection1/kernel", "weights/kernel", "weights/bias")
    for variable in model.modulators[0].trainable_variables:
        if not variable.path.endswith(names):
            continue
        start = ops.convert_to_numpy(variable)
        index = np.unravel_index(np.argmax(np.abs(steps[variable.path])), start.shape)
        found = []
        for sign in (1, -1):
            moved = start.copy()
            moved[index] += sign * 1e-2
            variable.assign(moved)
            found.append(model.evaluate(data, verbose=0, return_dict=True)["bend_loss"])
        variable.assign(start)
        wanted = (found[0] - found[1]) / 2e-2
        np.testing.assert_allclose(steps[variable.path][index], wanted, rtol=3e-2, atol=1e-4)


def test_each_part_has_its_optimizer_and_a_saved_model_goes_on(tmp_path) -> None:
    data, model = batch(), make()
    model.compile(
        keras.optimizers.SGD(0.0),
        LOSSES,
        metrics={"sign": "mae"},
        modulator_optimizer=keras.optimizers.Adam(0.01),
    )
    before = {v.path: ops.convert_to_numpy(v) for v in model.weights}
    held_out = batch(5)
    history = model.fit(
        data, batch_size=3, epochs=2, verbose=0, validation_data=held_out, validation_batch_size=3
    ).history
    logs = model.evaluate(held_out, batch_size=3, verbose=0, return_dict=True)
    assert {f"val_{name}" for name in logs} == {n for n in history if n.startswith("val_")}
    for name in ("loss", "bend_loss", "sign_mae"):
        np.testing.assert_allclose(history[f"val_{name}"][-1], logs[name], rtol=1e-5)
    moved = {
        v.path for v in model.weights if not np.array_equal(before[v.path], ops.convert_to_numpy(v))
    }
    assert moved == {v.path for v in model.modulators[0].trainable_variables}
    assert history["skipped"] == [0.0, 0.0] and "sign_mae" in history
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        again.train_on_batch(data), model.train_on_batch(data), rtol=1e-4, atol=1e-6
    )


def test_a_probabilistic_modulator_learns_and_answers_by_the_mean_of_its_prior() -> None:
    data, model = batch(), make(ProbabilisticAttentionModulator, False, domain_tasks=["sign"])
    model.compile(keras.optimizers.Adam(0.02), LOSSES)
    losses = model.fit(data, batch_size=3, epochs=6, verbose=0).history["bend_loss"]
    assert losses[-1] < losses[0]
    one, other = (model.predict(data, verbose=0) for _ in range(2))
    np.testing.assert_array_equal(one["bend"], other["bend"])
    mean, _ = model.modulators[0](
        model.backbone(data["bend"]["support"][0].reshape(-1, 2), training=False)[None],
        data["bend"]["support"][1].reshape(1, -1, 1),
    )
    assert np.abs(ops.convert_to_numpy(mean)).max() > 0
    weights = ops.convert_to_numpy(model.attention_weights(data)["bend"])
    assert weights.shape == (3, 4) and np.abs(weights).max() < 1
    # A head that does not adapt knows nothing of the support set's targets.
    flipped = {**data, "sign": {**data["sign"]}}
    x, y = data["sign"]["support"]
    flipped["sign"]["support"] = (x, 1 - y)
    np.testing.assert_array_equal(model.predict(flipped, verbose=0)["sign"], one["sign"])


def test_a_balancer_weighs_tasks_and_a_diverging_step_is_left_out() -> None:
    data, model = batch(), make(None)
    model.compile(keras.optimizers.SGD(0.1), LOSSES, balancer="pcgrad")
    first = model.train_on_batch(data, return_dict=True)
    assert first["skipped"] == 0 and {"bend_weight", "sign_weight"} <= set(first)
    broken = {
        **data,
        "sign": {part: tuple(map(np.copy, data["sign"][part])) for part in data["sign"]},
    }
    broken["sign"]["support"][0][0, 0] = np.nan
    before = model.get_weights()
    logs = model.train_on_batch(broken, return_dict=True)
    assert logs["skipped"] == 1 and logs["diverged"] == 1
    for one, value in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, value)


def test_what_cannot_be_is_refused() -> None:
    backbone, heads = parts()
    data = batch()
    with pytest.raises(ValueError, match="`domain_tasks` must name"):
        MultiTaskMetaLearner(backbone, heads, domain_tasks=["depth"])
    with pytest.raises(ValueError, match="must weigh the 4 channels"):
        MultiTaskMetaLearner(backbone, heads, {"bend": AttentionModulator(3)})
    model = make(None)
    with pytest.raises(ValueError, match="must be compiled"):
        model(data)
    with pytest.raises(ValueError, match="must look at 'shared' or 'all'"):
        model.compile("sgd", LOSSES, balancer="mgda_ub")
    model.compile("sgd", LOSSES)
    with pytest.raises(ValueError, match="must hold sub-tasks of"):
        model({"depth": data["bend"]})
    bend = data["bend"]
    empty = {"support": tuple(a[:, :0] for a in bend["support"]), "query": bend["query"]}
    with pytest.raises(ValueError, match="must have a support set"):
        model({"bend": empty})
