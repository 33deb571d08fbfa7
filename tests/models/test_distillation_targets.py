"""Teachers of several domains, annealing for each, terms left out, answers from a cache."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.models import TeacherCache, UniversalDistiller, cache_teacher
from keras_univrep.optimizers import CoupledSGD
from tests.models import toys

DECAY = keras.optimizers.schedules.PolynomialDecay
CLASSES = {"photo": 5, "sketch": 3, "sign": 4}


def aligned(model: UniversalDistiller) -> UniversalDistiller:
    """Draws the adapters' weights."""
    for i, adapter in enumerate(model.alignment_adapters):
        toys.draw_weights(adapter, 200 + i)
    return model


def copies(group: Any) -> dict[str, Any]:
    """A network of each domain alone that answers as the group network does."""
    found = {}
    for name, count in group.num_classes.items():
        found[name] = toys.network(0, {name: count}, filters=12)
        found[name].backbone.set_weights(toys.weights(group.backbone))
        found[name].head(name).set_weights(toys.weights(group.head(name)))
    return found


def step(model: UniversalDistiller, x: Any, y: Any, rate: float = 0.0) -> dict[str, float]:
    """Logs of one training step."""
    model.compile(keras.optimizers.SGD(rate), run_eagerly=True)
    return model.train_on_batch(x, y, return_dict=True)


def test_a_group_network_teaches_its_domains_as_a_network_of_each_would() -> None:
    group = toys.network(50, {"photo": 5, "sketch": 3}, filters=12)
    sign = toys.network(60, {"sign": 4}, filters=10)
    # The group network's domains do not stand together: order must not matter.
    taught = {"photo": group, "sign": sign, "sketch": group}
    model = aligned(UniversalDistiller(toys.network(1, CLASSES), taught))
    assert [adapter.name for adapter in model.alignment_adapters] == [
        "alignment_photo",
        "alignment_sign",
        "alignment_sketch",
    ]
    apart = {**copies(group), "sign": sign}
    other = UniversalDistiller(toys.network(1, CLASSES), {name: apart[name] for name in taught})
    aligned(other)
    x, y = toys.batch(0, CLASSES)
    ours, theirs = step(model, x, y, 0.1), step(other, x, y, 0.1)
    assert set(ours) == set(theirs) and {f"{n}_feature_loss" for n in CLASSES} <= set(ours)
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-4, err_msg=name)
    toys.assert_equal_weights(model.student, other.student, rtol=1e-3, atol=1e-5)
    assert not any(w.trainable for w in group.weights)


def test_a_group_network_is_saved_once_and_comes_back_as_one(tmp_path: Any) -> None:
    group = toys.network(50, {"photo": 5, "sketch": 3}, filters=12)
    teachers = {"photo": group, "sketch": group, "sign": 12}
    model = UniversalDistiller(
        toys.network(1, CLASSES),
        teachers,
        annealing={"photo": DECAY(1.0, 5, 0.0), "sketch": None, "sign": DECAY(1.0, 9, 0.0)},
    )
    assert len(model.teachers) == 1
    model.save(tmp_path / "distiller.keras")
    loaded = keras.saving.load_model(tmp_path / "distiller.keras")
    toys.assert_equal_weights(loaded, model)
    assert len(loaded.teachers) == 1 and loaded.teacher_domains == ("photo", "sketch", "sign")
    assert loaded.taught_by == {"photo": 0, "sketch": 0, "sign": None}
    assert loaded.annealing["sketch"] is None and float(loaded.annealing["sign"](3)) > 0.6


def test_domains_of_different_image_sizes_reach_one_teacher_apart() -> None:
    group = toys.network(50, {"photo": 5, "sketch": 3}, filters=12)
    x, _ = toys.batch(0)
    x["sketch"] = toys.images(9, size=20)
    from keras_univrep.models._teaching import teacher_answers

    answers = teacher_answers([group], {"photo": 0, "sketch": 0}, x, {})
    for name in x:
        expected = group.features(x[name], name, training=False)
        np.testing.assert_allclose(
            toys.numpy(answers[name][0]), toys.numpy(expected), rtol=1e-4, atol=1e-5
        )


def test_each_domain_anneals_over_its_own_horizon() -> None:
    # li2022 A.3: lambda (1 - t / K) with K of the domain, zero from there on.
    horizons = {"photo": 8, "sketch": 4}
    x, y = toys.batch(0)
    model = UniversalDistiller.preset(
        "released", toys.network(1), toys.teachers(), steps=horizons, feature_weight=2.0
    )
    aligned(model)
    plain = toys.network(1)
    plain.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    task = float(np.ravel(plain.train_on_batch(x, y))[0])
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    for t in (0, 2, 4, 6, 8, 20):
        model.step.assign(t)
        model.reset_metrics()
        logs = model.train_on_batch(x, y, return_dict=True)
        expected = task
        for name, horizon in horizons.items():
            terms = 2.0 * logs[f"{name}_feature_loss"] + logs[f"{name}_prediction_loss"]
            expected += max(0.0, 1.0 - t / horizon) * terms
        np.testing.assert_allclose(logs["loss"], expected, rtol=1e-4)


@pytest.mark.parametrize("kept", ["feature", "prediction"])
def test_a_term_that_is_left_out_costs_nothing_and_is_not_logged(kept: str) -> None:
    left_out = {"temperature": None} if kept == "feature" else {"feature_loss": None}
    weights = {"prediction_weight": 0.0} if kept == "feature" else {"feature_weight": 0.0}
    x, y = toys.batch(0)
    model = aligned(UniversalDistiller(toys.network(1), toys.teachers(), **left_out))
    whole = aligned(UniversalDistiller(toys.network(1), toys.teachers(), **weights))
    logs, reference = step(model, x, y), step(whole, x, y)
    np.testing.assert_allclose(logs["loss"], reference["loss"], rtol=1e-5)
    terms = {name for name in logs if name.endswith(("feature_loss", "prediction_loss"))}
    assert terms == {f"{name}_{kept}_loss" for name in toys.CLASSES}
    assert len(model.alignment_adapters) == (2 if kept == "feature" else 0)
    # Adam for adapters that are not there is no obstacle.
    model.compile(model.optimizer_groups(CoupledSGD(0.1), steps=10), run_eagerly=True)
    before = toys.weights(model.student)
    model.train_on_batch(x, y)
    assert any((a != b).any() for a, b in zip(before, toys.weights(model.student), strict=True))
    again = UniversalDistiller.from_config(model.get_config())
    assert (again.feature_loss is None, again.temperature is None) == (
        kept == "prediction",
        kept == "feature",
    )


def taught_batch(caches: dict[str, TeacherCache], x: Any, samples: np.ndarray) -> dict[str, Any]:
    """The batch with rows of the caches beside the images."""
    images = {name: value[samples] for name, value in x.items()}
    return {"images": images, "targets": {n: c.take(samples) for n, c in caches.items()}}


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("float16", 2e-3)])
def test_cached_teachers_give_the_losses_of_live_ones(
    dtype: str, rtol: float, tmp_path: Any
) -> None:
    x, y = toys.batch(0, count=12)
    live, teachers = toys.distiller(annealing=DECAY(1.0, 9, 0.0)), toys.teachers()
    caches = {
        # The last batch is shorter than the others.
        name: cache_teacher(
            t, [x[name][:5], x[name][5:10], x[name][10:]], name, tmp_path / name, dtype
        )
        for name, t in teachers.items()
    }
    opened = {name: TeacherCache.open(tmp_path / name) for name in caches}
    assert opened["photo"].features.dtype == dtype and isinstance(
        opened["photo"].features, np.memmap
    )
    cached = UniversalDistiller(toys.network(1), opened, annealing=DECAY(1.0, 9, 0.0))
    aligned(cached)
    assert not cached.teachers and cached.count_params() < live.count_params()
    for model in (live, cached):
        # Compiled once, to see that a batch with targets passes through a graph.
        model.compile(CoupledSGD(0.05, momentum=0.9, l2=1e-4), run_eagerly=dtype == "float16")
    for seed in range(2):
        samples = np.random.default_rng(seed).permutation(12)[:8]
        labels = {name: value[samples] for name, value in y.items()}
        for model in (live, cached):
            model.reset_metrics()
        images = {name: value[samples] for name, value in x.items()}
        ours = cached.train_on_batch(taught_batch(opened, x, samples), labels, return_dict=True)
        theirs = live.train_on_batch(images, labels, return_dict=True)
        assert set(ours) == set(theirs)
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=rtol, atol=rtol, err_msg=name)
    assert int(cached.step) == 2
    # Images alone are enough to predict and evaluate, and targets do not disturb.
    both = [cached.predict_on_batch(batch)["photo"] for batch in (x, {"images": x, "targets": {}})]
    np.testing.assert_allclose(both[0], both[1], rtol=1e-6)


def test_cached_targets_stand_in_for_a_live_teacher_of_the_same_domain() -> None:
    x, y = toys.batch(0)
    model = toys.distiller()
    caches = {"photo": cache_teacher(toys.teachers()["sketch"], [x["photo"]])}
    doubled = TeacherCache(2.0 * caches["photo"].features, np.zeros((8, 5)))
    logs = step(model, {"images": x, "targets": {"photo": doubled.take(np.arange(8))}}, y)
    plain = step(toys.distiller(), x, y)
    assert abs(logs["photo_prediction_loss"] - plain["photo_prediction_loss"]) > 1e-3
    np.testing.assert_allclose(logs["sketch_feature_loss"], plain["sketch_feature_loss"], rtol=1e-4)


def test_refuses_what_does_not_fit() -> None:
    student, found = toys.network(1), toys.teachers()
    x, y = toys.batch(0)
    with pytest.raises(ValueError, match="distils nothing"):
        UniversalDistiller(student, found, feature_loss=None, temperature=None)
    with pytest.raises(ValueError, match="one for each domain with a teacher"):
        UniversalDistiller(student, found, annealing={"photo": None})
    with pytest.raises(TypeError, match="schedules of the step"):
        UniversalDistiller(student, found, annealing=0.5)
    with pytest.raises(TypeError, match="MultiDomainModel, a TeacherCache, or the number"):
        UniversalDistiller(student, {"photo": "network"})
    with pytest.raises(ValueError, match="student's classes.*teacher=4, student=5"):
        UniversalDistiller(student, {"photo": TeacherCache(np.ones((2, 6)), np.ones((2, 4)))})
    model = UniversalDistiller(student, {"photo": 12, "sketch": found["sketch"]})
    model.compile("sgd", run_eagerly=True)
    with pytest.raises(ValueError, match="what the teacher of 'photo' answers"):
        model.train_on_batch(x, y)
    with pytest.raises(ValueError, match="one row a sample"):
        TeacherCache(np.ones((2, 6)), np.ones((3, 4)))
    with pytest.raises(ValueError, match="at least one batch"):
        cache_teacher(found["photo"], [])
    with pytest.raises(ValueError, match="floating dtype"):
        cache_teacher(found["photo"], [x["photo"]], dtype="int8")


def test_a_folder_without_a_whole_cache_is_refused(tmp_path: Any) -> None:
    np.save(tmp_path / "features.npy", np.ones((2, 3)))
    with pytest.raises(ValueError, match="logits.npy.*is missing"):
        TeacherCache.open(tmp_path)
