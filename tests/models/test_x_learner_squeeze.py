"""The squeeze is that of the equation, and leaves one backbone of the cost of one."""

from __future__ import annotations

import pathlib
from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.models import XLearnerExpansion, XLearnerSqueeze
from tests.models.expansions import LEVELS, Stream, backbone, batch, expansion, heads
from tests.models.toys import draw_weights, numpy, weights


def squeeze(teacher: XLearnerExpansion | None = None, **kwargs: Any) -> XLearnerSqueeze:
    """A student like the first task's sub-backbone."""
    teacher = expansion(tau=0) if teacher is None else teacher
    model = XLearnerSqueeze(teacher, **{"student": backbone(40), **kwargs})
    for number, layer in enumerate(model.guidance_layers):
        draw_weights(layer, 150 + number)
    return model


def maps_of(model: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    view = keras.Model(model.input, [model.get_layer(name).output for name in LEVELS])
    return [numpy(y) for y in view(x, training=False)]


@pytest.mark.parametrize("reduction", ["mean", "sum", "relative"])
@pytest.mark.parametrize("levels", [None, [1, 2]])
def test_loss_is_that_of_equation_3(reduction: str, levels: list[int] | None) -> None:
    model = squeeze(levels=levels, reduction=reduction)
    model.compile("sgd")
    x, _ = batch(3)
    images = np.concatenate([a for row in x.values() for a in row.values()])
    mine, layers = maps_of(model.student, images), iter(model.guidance_layers)
    right = {}
    for task, hints in model.teacher.features(images).items():
        right[task] = 0.0
        for i in levels or [2]:
            layer = next(layers)
            w = {v.name: numpy(v) for v in layer.weights}
            moments = w["moving_mean"], w["moving_variance"]
            z = (mine[i - 1] @ w["kernel"] - moments[0]) / np.sqrt(moments[1] + 1e-5)
            hint = numpy(hints[i - 1])
            squares = (hint - z * w["gamma"] - w["beta"]) ** 2
            right[task] += {
                "mean": squares.mean(),
                "sum": squares.sum((1, 2, 3)).mean(),
                "relative": squares.mean() / hint.var((0, 1, 2)).mean(),
            }[reduction]
    found = model.evaluate(x, verbose=0, return_dict=True)
    np.testing.assert_allclose(found["loss"], sum(right.values()), rtol=1e-4)
    for task, value in right.items():
        np.testing.assert_allclose(found[f"{task}_hint"], value, rtol=1e-4)


def test_squeezed_network_has_the_parameters_of_one_sub_backbone() -> None:
    model = squeeze()
    one, other = model.teacher.expanded.backbones
    assert model.student.count_params() == one.count_params()
    assert model.teacher.expanded.count_params() > one.count_params() + other.count_params()
    # A head on it costs its guidance layer besides: 4x4 and four numbers a channel.
    head = model.teacher.head("classes", "birds")
    source = model.for_source("classes", "birds")
    assert source.count_params() == one.count_params() + 16 + 16 + head.count_params()


def test_training_brings_the_student_closer_and_leaves_the_teacher(
    tmp_path: pathlib.Path,
) -> None:
    model = squeeze()
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-3))
    before = weights(model.teacher)
    history = model.fit(Stream(4, labelled=False), epochs=6, verbose=0).history
    assert set(history) == {"loss", "classes_hint", "parts_hint"}
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    for a, b in zip(before, weights(model.teacher), strict=True):
        np.testing.assert_array_equal(a, b)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(weights(model), weights(loaded), strict=True):
        np.testing.assert_array_equal(a, b)
    x = batch(8)[0]["parts"]["scenes"]
    for task, (guided,) in model.guide(x).items():
        np.testing.assert_allclose(numpy(loaded.guide(x)[task][0]), numpy(guided), rtol=1e-5)
    loaded.train_on_batch(Stream(1, labelled=False)[0][0])


def test_calibrated_guidance_has_the_moments_of_the_teachers_channels() -> None:
    model = squeeze(levels=[1, 2])
    x, _ = batch(3)
    model.calibrate(x)
    images = np.concatenate([a for row in x.values() for a in row.values()])
    hints = model.teacher.features(images)
    # A normalisation of this batch gives its offset and scale as the moments of what it returns.
    layers = iter(model.guidance_layers)
    maps = maps_of(model.student, images)
    for task in model.tasks:
        for i in (1, 2):
            guided = numpy(next(layers)(maps[i - 1], training=True))
            hint = numpy(hints[task][i - 1])
            np.testing.assert_allclose(guided.mean((0, 1, 2)), hint.mean((0, 1, 2)), atol=1e-4)
            np.testing.assert_allclose(guided.std((0, 1, 2)), hint.std((0, 1, 2)), rtol=1e-2)


def test_a_source_is_answered_by_the_teachers_head_on_guided_maps() -> None:
    model = squeeze()
    x = batch(2)[0]["classes"]["birds"]
    right = model.teacher.head("classes", "birds")(model.guide(x)["classes"][0])
    found = model.for_source("classes", "birds")(x)
    np.testing.assert_allclose(numpy(found), numpy(right), rtol=1e-4, atol=1e-5)


def test_images_of_other_sizes_are_weighed_by_their_number() -> None:
    def of_any_size(seed: int) -> keras.Model:
        images = keras.Input((None, None, 2))
        level = keras.layers.Conv2D(3, 3, name="level1")(images)
        return draw_weights(keras.Model(images, level), seed)

    teacher = XLearnerExpansion({"parts": of_any_size(1)}, {"parts": heads()["parts"]}, ["level1"])
    model = squeeze(teacher, student=of_any_size(2))
    model.compile("sgd")
    few, many = np.ones((1, 5, 5, 2), "float32"), np.zeros((3, 4, 4, 2), "float32")
    parts = [model.evaluate(x, verbose=0, return_dict=True)["loss"] for x in (few, many)]
    model.reset_metrics()
    both = float(model.compute_loss(x=[few, many], y_pred=model([few, many]), training=False))
    np.testing.assert_allclose(both, (parts[0] + 3 * parts[1]) / 4, rtol=1e-5)


def test_squeezing_first_gives_each_task_a_smaller_backbone() -> None:
    teacher = expansion(tau=0, reconciliation=None)
    small = {task: backbone(60 + n, (2, 3)) for n, task in enumerate(teacher.tasks)}
    for task in teacher.tasks:
        model = squeeze(teacher, student=small[task], tasks=[task])
        assert [layer.name for layer in model.guidance_layers] == [f"guidance_{task}_2"]
    joined = expansion(backbones=small, heads=smaller_heads(), tau=0)
    assert len(joined.reconciliation_layers) == 4
    total = sum(part.count_params() for part in small.values())
    assert joined.expanded.count_params() > total


def smaller_heads() -> dict[str, Any]:
    return {
        "classes": {"photos": keras.layers.Conv2D(3, 1)},
        "parts": {"scenes": keras.layers.Conv2D(2, 1)},
    }


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tasks": ["depth"]}, r"tasks=\['depth'\]"),
    ({"levels": [0]}, r"`levels`.*from 1 to 2.*\[0\]"),
    ({"student_levels": ["level1"]}, "must name 2 levels"),
    ({"student_levels": ["level1", "absent"]}, "'absent'"),
    ({"reduction": "median"}, "'median'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        squeeze(**arguments)


def test_the_teacher_must_be_an_expansion() -> None:
    with pytest.raises(TypeError, match="Functional"):
        XLearnerSqueeze(backbone(0), backbone(1))


def test_a_head_needs_its_levels_distilled() -> None:
    with pytest.raises(ValueError, match=r"\[2\], which must be distilled.*levels=\[1\]"):
        squeeze(levels=[1]).for_source("classes", "birds")
