"""Equations and algorithm of the expansion, and that tasks do not disturb one another."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.models import XLearnerExpansion
from tests.models.expansions import (
    LEVELS,
    SIZE,
    Stream,
    backbone,
    batch,
    expansion,
    heads,
    losses,
)
from tests.models.toys import numpy, weights

TAU = 2


def optimizer() -> keras.optimizers.Optimizer:
    """With all that could move a weight without a gradient."""
    return keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=0.01)


def compiled(model: XLearnerExpansion) -> XLearnerExpansion:
    accuracy = keras.metrics.SparseCategoricalAccuracy(name="birds_accuracy")
    model.compile(optimizer(), losses(), metrics={"classes": {"birds": [accuracy]}})
    return model


def bits(layers: list[keras.layers.Layer]) -> list[np.ndarray]:
    return [value for layer in layers for value in weights(layer)]


def moved(before: list[np.ndarray], after: list[np.ndarray]) -> list[bool]:
    return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


def maps_of(model: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    view = keras.Model(model.input, [model.get_layer(name).output for name in LEVELS])
    return [numpy(y) for y in view(x, training=False)]


def test_algorithm_1_switches_after_step_tau_and_goes_on_after_loading(
    tmp_path: pathlib.Path,
) -> None:
    model = compiled(expansion(tau=TAU))
    for k in range(1, 5):
        before = [bits(model.reconciliation_layers), bits(model.expanded.backbones)]
        logs = model.fit(Stream(1, k), verbose=0).history
        after = [bits(model.reconciliation_layers), bits(model.expanded.backbones)]
        if k <= TAU:
            assert not any(moved(before[0], after[0]))
        else:
            assert all(moved(before[0], after[0]))
        assert all(moved(before[1], after[1]))
        parts = [logs[f"classes_{s}_loss"][0] for s in ("photos", "birds")]
        scenes = logs["parts_scenes_loss"][0]
        # he2022 eq. 1; before, each task minimises the mean over its own sources.
        right = (sum(parts) + scenes) / 3 if k > TAU else sum(parts) / 2 + scenes
        np.testing.assert_allclose(logs["loss"][0], right, rtol=1e-5)
        assert "birds_accuracy" in logs
        if k == 1:
            model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert int(numpy(loaded.step)) == 1
    loaded.fit(Stream(3, 2), verbose=0, shuffle=False)  # Over the switch in one epoch.
    assert int(numpy(loaded.step)) == 4
    for a, b in zip(weights(model), weights(loaded), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)
    x, y = batch(9)
    ours, theirs = model(x)["classes"]["birds"], loaded(x)["classes"]["birds"]
    np.testing.assert_allclose(numpy(theirs), numpy(ours), rtol=1e-3, atol=1e-4)
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    right = sum(v for name, v in found.items() if name.endswith("_loss")) / 3
    np.testing.assert_allclose(found["loss"], right, rtol=1e-5)


def test_before_the_switch_a_task_learns_as_if_alone() -> None:
    model = compiled(expansion())
    alone = XLearnerExpansion(
        {"parts": backbone(1, (2, 4))}, {"parts": heads()["parts"]}, LEVELS, tau=TAU
    )
    alone.compile(optimizer(), {"parts": "mean_squared_error"})
    assert not alone.reconciliation_layers
    x, y = batch(3)
    model.train_on_batch(x, y)
    alone.train_on_batch({"parts": x["parts"]}, {"parts": y["parts"]})
    ours = weights(model.expanded.backbones[1]) + weights(model.head("parts", "scenes"))
    theirs = weights(alone.expanded.backbones[0]) + weights(alone.head("parts", "scenes"))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("direction", ["deeper", "shallower"])
def test_fused_maps_are_those_of_equation_2(direction: str) -> None:
    pairs = [(1, 1), (1, 2), (2, 2)] if direction == "deeper" else [(1, 1), (2, 1), (2, 2)]
    model = expansion(tau=0, reconciliation=direction, links=pairs)
    x = batch(5)[0]["parts"]["scenes"]
    plain = dict(zip(model.tasks, (maps_of(b, x) for b in model.expanded.backbones)))
    names = {layer.name: layer for layer in model.reconciliation_layers}
    assert len(names) == 6
    for task, other in (("classes", "parts"), ("parts", "classes")):
        for i, found in enumerate(model.features(x)[task], start=1):
            right = plain[task][i - 1].copy()
            for j in (j for j, to in pairs if to == i):
                layer = names[f"reconcile_{other}_{j}_{task}_{i}"]
                right += numpy(layer(plain[other][j - 1].astype("float32"), training=False))
            np.testing.assert_allclose(numpy(found), right, rtol=1e-4, atol=1e-5)
    functional = model.for_source("parts", "scenes")
    answer = model({"parts": {"scenes": x}})["parts"]["scenes"]
    np.testing.assert_allclose(numpy(functional(x)), numpy(answer), rtol=1e-4, atol=1e-5)


def test_fed_forward_a_fused_map_is_what_the_next_level_sees() -> None:
    model = expansion(tau=0, feed_forward=True, links=[(1, 1)])
    x = batch(5)[0]["parts"]["scenes"]
    own, other = model.expanded.backbones[1], model.expanded.backbones[0]
    (layer,) = [a for a in model.reconciliation_layers if a.name.endswith("parts_1")]
    first = maps_of(own, x)[0] + numpy(layer(maps_of(other, x)[0].astype("float32")))
    rest = keras.Model(own.get_layer("level1").output, own.get_layer("level2").output)
    found = model.features(x, ["parts"])["parts"]
    np.testing.assert_allclose(numpy(found[0]), first, rtol=1e-4, atol=1e-5)
    right = numpy(rest(first.astype("float32"), training=False))
    np.testing.assert_allclose(numpy(found[1]), right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"feed_forward": True}, {"reconciliation": "shallower"}],
    ids=["deeper", "feed_forward", "shallower"],
)
def test_no_gradient_reaches_the_sub_backbone_of_another_task(arguments: dict[str, Any]) -> None:
    model = expansion(tau=0, **arguments)
    variables = model.trainable_variables
    x = {"parts": batch(4)[0]["parts"]}
    _, _, pullback = backend.vjp(
        lambda: (ops.mean(ops.square(model(x, training=True)["parts"]["scenes"])), None), variables
    )
    grads = dict(zip((id(v) for v in variables), pullback(ops.ones(()))[0], strict=True))

    def sizes(layer: keras.layers.Layer) -> list[float]:
        return [np.abs(numpy(grads[id(v)])).max() for v in layer.trainable_variables]

    other, own = model.expanded.backbones
    assert sizes(other) == [0.0] * len(other.trainable_variables)
    # A bias in front of a normalisation has none.
    assert all(size > 0 for size, v in zip(sizes(own), own.trainable_variables)
               if "bias" not in v.path)  # fmt: skip
    reached = {a.name for a in model.reconciliation_layers if max(sizes(a)) > 0}
    ahead = {a.name for a in model.reconciliation_layers if a.name.startswith("reconcile_classes")}
    assert reached == ahead


def test_by_default_reconciliation_reaches_maps_that_are_taken() -> None:
    def pairs(**arguments: Any) -> set[tuple[int, int]]:
        return {(j, i) for _, j, t, i in expansion(**arguments).expanded.connections
                if t == "parts"}  # fmt: skip

    every = {(1, 1), (1, 2), (2, 2)}
    assert pairs() == {(1, 2), (2, 2)}
    assert pairs(feed_forward=True) == every
    assert pairs(links=every) == every
    pyramid = {"parts": {"scenes": keras.layers.Identity()}, "classes": heads()["classes"]}
    assert pairs(pyramid=["parts"], heads=pyramid) == every


def test_other_tasks_statistics_come_from_their_own_images() -> None:
    model = expansion(tau=0)
    before = bits(model.expanded.backbones[:1])
    model({"parts": batch(4)[0]["parts"]}, training=True)
    assert not any(moved(before, bits(model.expanded.backbones[:1])))


def test_untrained_reconciliation_stays_out_of_inference() -> None:
    model = expansion(tau=TAU)
    x = batch(6)[0]["classes"]["photos"]
    plain = maps_of(model.expanded.backbones[0], x)
    for step, same in ((0, True), (TAU - 1, True), (TAU, False)):
        model.step.assign(step)
        found = numpy(model.features(x)["classes"][1])
        assert np.allclose(found, plain[1], rtol=1e-4, atol=1e-5) == same


def test_an_expanded_backbone_gives_the_maps_of_all_tasks_side_by_side(
    tmp_path: pathlib.Path,
) -> None:
    model = expansion()
    model.to_backbone().save(tmp_path / "backbone.keras")
    transferred = keras.saving.load_model(tmp_path / "backbone.keras")
    x = next(iter(batch(0)[0]["classes"].values()))
    found = {name: numpy(value) for name, value in transferred(x).items()}
    maps = [[numpy(level) for level in levels] for levels in model.features(x).values()]
    assert list(found) == list(LEVELS) and len(maps) == 2
    for value, *expected in zip(found.values(), *maps, strict=True):
        np.testing.assert_allclose(value, np.concatenate(expected, axis=-1), rtol=1e-5, atol=1e-6)
    # Its layers are levels again.
    again = XLearnerExpansion(transferred, heads(), LEVELS, reconciliation=None)
    assert again.to_backbone() is transferred


def test_hard_sharing_has_one_backbone_and_one_batch_of_all_tasks() -> None:
    shared = backbone(0)
    model = compiled(expansion(backbones=shared, tau=0, reconciliation=None))
    in_heads = sum(head.count_params() for head in model.heads)
    assert model.count_params() == shared.count_params() + in_heads + 1  # The step.
    x, y = batch(3)
    everything = np.concatenate([a for row in x.values() for a in row.values()])
    moment = numpy(shared.get_layer("level1_norm").moving_mean)
    seen = keras.Model(shared.input, shared.get_layer("level1_conv").output)(everything)
    model.train_on_batch(x, y)
    right = 0.9 * moment + 0.1 * numpy(seen).mean((0, 1, 2))
    found = numpy(shared.get_layer("level1_norm").moving_mean)
    np.testing.assert_allclose(found, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_hints_of_single_source_teachers_act_until_the_switch(reduction: str) -> None:
    teacher = backbone(30, (3, 5))
    model = expansion(
        teachers={"classes": {"birds": teacher}},
        hint_levels=[1, 2],
        hint_weight=3.0,
        hint_reduction=reduction,
    )
    x, _ = batch(7)
    for part in model.hints.guidance_layers:
        part.trainable = False  # So that the moving statistics count, which NumPy knows.
    for part in model.expanded.backbones:
        part.trainable = False
    before = bits([teacher])
    model(x, training=True)
    (found,) = [float(loss) for loss in model.losses]
    birds = x["classes"]["birds"]
    mine, hints = maps_of(model.expanded.backbones[0], birds), maps_of(teacher, birds)
    right = 0.0
    for layer, a, b in zip(model.hints.guidance_layers, mine, hints, strict=True):
        squares = (numpy(layer(a.astype("float32"), training=False)) - b) ** 2
        right += squares.mean() if reduction == "mean" else squares.sum((1, 2, 3)).mean()
    np.testing.assert_allclose(found, 3.0 * right, rtol=1e-4)
    assert not any(moved(before, bits([teacher])))
    model.joint = True
    model(x, training=True)
    assert not model.losses


def test_hints_are_saved_and_learn_in_the_first_phase_alone(tmp_path: pathlib.Path) -> None:
    model = compiled(expansion(teachers={"classes": {"birds": backbone(30)}}, tau=1))
    before = bits(model.hints.guidance_layers)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    logs = loaded.fit(Stream(1), verbose=0).history
    first = bits(loaded.hints.guidance_layers)
    assert all(moved(before, first)) and logs["classes_birds_hint"][0] > 0.0
    loaded.fit(Stream(1), verbose=0)
    assert not any(moved(first, bits(loaded.hints.guidance_layers)))


def test_heads_of_a_pyramid_take_all_levels() -> None:
    entry = {"level1": keras.Input((4, 4, 2)), "level2": keras.Input((2, 2, 4))}
    up = keras.layers.UpSampling2D()(entry["level2"])
    pyramid = keras.Model(entry, keras.layers.Concatenate()([entry["level1"], up]))
    model = expansion(heads={**heads(), "parts": {"scenes": pyramid}}, pyramid=["parts"])
    x, _ = batch(1)
    assert tuple(model(x)["parts"]["scenes"].shape) == (4, 4, 4, 6)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"heads": {"classes": keras.layers.Dense(2)}}, r"\{task: \{source: head\}\}"),
    ({"backbones": {"classes": backbone(0)}}, r"one for each task of `heads`.*\['classes'\]"),
    ({"levels": ["level1", "absent"]}, "'absent'"),
    ({"levels": ["level2", "level1"]}, "maps that do not grow"),
    ({"levels": {"classes": ["level1"], "parts": LEVELS}}, "as many levels"),
    ({"tau": -1}, "tau=-1"),
    ({"reconciliation": "sideways"}, "'sideways'"),
    ({"links": [(2, 1)]}, r"\(2, 1\)"),
    ({"reconciliation": "shallower", "feed_forward": True}, "feed_forward=True"),
    ({"pyramid": ["depth"]}, "'depth'"),
    ({"backbones": backbone(0), "tau": 0}, "reconciliation='deeper', feed"),
    ({"backbones": backbone(0), "reconciliation": None}, "tau=2 with one backbone"),
    ({"teachers": {"classes": {"cats": backbone(3)}}}, "'cats'"),
    ({"teachers": {"classes": {"birds": backbone(3)}}, "tau": 0}, "tau=0"),
    ({"teachers": {"classes": {"birds": backbone(3)}}, "hint_levels": [3]}, r"\[3\]"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        expansion(**arguments)


def test_backbones_must_be_functional() -> None:
    with pytest.raises(TypeError, match="functional Keras model.*Dense"):
        expansion(backbones={"classes": backbone(0), "parts": keras.layers.Dense(1)})


def test_batches_must_hold_every_source() -> None:
    model = compiled(expansion())
    x, y = batch(0)
    with pytest.raises(ValueError, match=r"`x` must hold a batch of each source.*run dry"):
        model.train_on_batch({**x, "classes": {"birds": x["classes"]["birds"]}}, y)
    with pytest.raises(ValueError, match="one size"):
        small = {"photos": x["classes"]["photos"], "birds": np.ones((2, SIZE, SIZE - 4, 2))}
        model({"classes": small})
    with pytest.raises(ValueError, match="'scenes' of 'parts'"):
        model.train_on_batch(x, {"classes": y["classes"]})
    with pytest.raises(ValueError, match=r"nothing for \['parts/scenes'\]"):
        model.compile("sgd", {"classes": "mse"})


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras runs one step at a time on PyTorch."
)
def test_the_switch_must_lie_between_two_executions() -> None:
    model = expansion(tau=3)
    model.compile("sgd", losses(), steps_per_execution=2)
    with pytest.raises(ValueError, match="steps_per_execution=2 with 3 steps left"):
        model.fit(Stream(4), verbose=0)
