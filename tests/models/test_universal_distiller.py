"""Distillation of teachers into a universal network: the loss, the step, its state, its errors."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.models import UniversalDistiller
from keras_univrep.optimizers import CoupledAdam, CoupledSGD
from tests.losses import oracles
from tests.models import toys

DECAY = keras.optimizers.schedules.PolynomialDecay


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    return float(np.mean(-np.log(shares[np.arange(len(labels)), labels])))


def expected_loss(
    model: UniversalDistiller,
    x: toys.Batch,
    y: toys.Batch,
    normalize: bool,
    temperature: float,
    feature_weight: dict[str, float],
    prediction_weight: dict[str, float],
    w: float,
) -> tuple[float, dict[str, float]]:
    """li2022 eq. 3 in float64, from the networks' features; leaves the weights as they were."""
    before = toys.weights(model)
    features = model.student.features(x, training=True)
    total, terms = 0.0, {}
    for name in x:
        student = toys.numpy(features[name])
        logits = toys.numpy(model.student.head(name)(features[name]))
        total += cross_entropy(logits, y[name])
        if name not in model.teacher_domains:
            continue
        position = model.teacher_domains.index(name)
        teacher = model.teachers[position]
        target = teacher.features(x[name], training=False)
        aligned = student @ toys.numpy(model.alignment_adapters[position].kernel)
        feature = 1.0 - oracles.cka(aligned, toys.numpy(target), normalize=normalize)
        prediction = float(
            np.mean(oracles.kl(logits, toys.numpy(teacher.classify(target)), temperature))
        )
        total += w * (feature_weight[name] * feature + prediction_weight[name] * prediction)
        terms[f"{name}_feature_loss"] = feature
        terms[f"{name}_prediction_loss"] = prediction
    model.set_weights(before)
    return total, terms


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_loss_is_eq_3_with_weights_and_annealing(preset: str) -> None:
    lambdas = {"photo": 10.0, "sketch": 0.1}, {"photo": 0.5, "sketch": 2.0}
    model = UniversalDistiller.preset(
        preset,
        toys.network(1),
        toys.teachers(),
        steps=12,
        feature_weight=lambdas[0],
        prediction_weight=lambdas[1],
    )
    x, y = toys.batch(0)
    model.compile(keras.optimizers.SGD(0.0))
    for step in (0, 3):
        w = 1.0 if preset == "paper" else 1.0 - step / 12
        normalize, temperature = (False, 1.0) if preset == "paper" else (True, 8.0)
        total, terms = expected_loss(model, x, y, normalize, temperature, *lambdas, w=w)
        model.step.assign(step)
        model.reset_metrics()
        logs = model.train_on_batch(x, y, return_dict=True)
        np.testing.assert_allclose(logs["loss"], total, rtol=1e-4)
        for name, value in terms.items():
            np.testing.assert_allclose(logs[name], value, rtol=1e-3)
        assert int(model.step) == step + 1


def test_weight_zero_and_the_end_of_annealing_leave_the_labels_only() -> None:
    x, y = toys.batch(0)
    plain = toys.network(1)
    plain.compile(keras.optimizers.SGD(0.0))
    expected = plain.train_on_batch(x, y)
    for model, step in (
        (toys.distiller(feature_weight=0, prediction_weight=0), 0),
        (toys.distiller(annealing=DECAY(1.0, 4, 0.0)), 4),
    ):
        model.step.assign(step)
        model.compile(keras.optimizers.SGD(0.0))
        loss = model.train_on_batch(x, y, return_dict=True)["loss"]
        np.testing.assert_allclose(loss, np.ravel(expected)[0], rtol=1e-6)


def test_domain_without_teacher_learns_from_its_labels_only() -> None:
    model = UniversalDistiller(toys.network(1), {"sketch": toys.teachers()["sketch"]})
    x, y = toys.batch(0)
    total, terms = expected_loss(model, x, y, True, 8.0, {"sketch": 1.0}, {"sketch": 1.0}, 1.0)
    assert set(terms) == {"sketch_feature_loss", "sketch_prediction_loss"}
    before = toys.weights(model.student.head("photo"))
    model.compile(keras.optimizers.SGD(0.1))
    np.testing.assert_allclose(
        model.train_on_batch(x, y, return_dict=True)["loss"], total, rtol=1e-4
    )
    assert not np.array_equal(toys.weights(model.student.head("photo"))[0], before[0])


def test_fit_moves_student_and_adapters_and_leaves_teachers_as_they_were() -> None:
    model = toys.distiller()
    model.compile(model.preset_optimizer(steps=4))
    parts = [*model.teachers, model.student, *model.alignment_adapters]
    before = [toys.weights(part) for part in parts]
    history = model.fit(toys.Stream(4), shuffle=False, epochs=1, verbose=0).history
    for part, old in zip(parts[:2], before[:2]):
        assert any("moving_mean" in w.path for w in part.weights)
        for a, b in zip(toys.weights(part), old, strict=True):
            np.testing.assert_array_equal(a, b)
    for part, old in zip(parts[2:], before[2:]):
        for a, b in zip(toys.weights(part), old, strict=True):
            assert np.abs(a - b).max() > 0
    assert all(np.isfinite(v).all() for v in history.values())
    assert int(model.step) == 4


def test_each_loss_term_is_logged_in_training_and_none_in_evaluation() -> None:
    model = toys.distiller()
    model.compile(keras.optimizers.SGD(0.01))
    history = model.fit(
        toys.Stream(2), validation_data=toys.Stream(1, first=50), epochs=1, verbose=0
    ).history
    terms = {f"{n}_{t}_loss" for n in toys.CLASSES for t in ("feature", "prediction")}
    assert {"loss", "photo_accuracy", "sketch_accuracy", *terms} <= set(history)
    assert {"val_loss", "val_photo_accuracy"} <= set(history)
    # Teachers take no part in an evaluation: a zero there would read as a perfect match.
    assert not [name for name in history if name.startswith("val_") and name[4:] in terms]
    assert all(history[name][0] > 0 for name in terms)
    logs = model.evaluate(toys.Stream(1, first=50), verbose=0, return_dict=True)
    assert not terms & set(logs)
    np.testing.assert_allclose(logs["loss"], history["val_loss"][-1], rtol=1e-5)


def test_evaluates_and_predicts_as_its_student_does() -> None:
    model = toys.distiller()
    x, y = toys.batch(3)
    for name, logits in model.predict(x, verbose=0).items():
        np.testing.assert_allclose(
            logits, toys.numpy(model.student(x, training=False)[name]), rtol=1e-4, atol=1e-5
        )
    model.compile(keras.optimizers.SGD(0.01))
    model.student.compile(keras.optimizers.SGD(0.01))
    ours, theirs = (
        m.evaluate(x, y, batch_size=8, verbose=0, return_dict=True) for m in (model, model.student)
    )
    for key in ("loss", "photo_accuracy", "sketch_accuracy"):
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-5)


def test_domains_may_be_called_as_the_parts_of_a_result_are() -> None:
    classes = {"features": 4, "logits": 3}
    model = UniversalDistiller(toys.network(1, classes), toys.teachers(classes))
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    x, y = toys.batch(0, classes)
    assert np.isfinite(model.train_on_batch(x, y, return_dict=True)["features_feature_loss"])
    assert np.isfinite(model.test_on_batch(x, y, return_dict=True)["loss"])


def test_sample_weight_weighs_the_task_loss() -> None:
    x, y = toys.batch(0)
    weight = {"photo": np.linspace(0, 2, 8), "sketch": np.zeros(8)}
    model = toys.distiller(feature_weight=0, prediction_weight=0)
    before = toys.weights(model)
    features = model.student.features(x, training=True)
    logits = toys.numpy(model.student.head("photo")(features["photo"]))
    model.set_weights(before)
    each = [cross_entropy(logits[i : i + 1], y["photo"][i : i + 1]) for i in range(8)]
    model.compile(keras.optimizers.SGD(0.0))
    logs = model.train_on_batch(x, y, sample_weight=weight, return_dict=True)
    np.testing.assert_allclose(logs["loss"], np.mean(weight["photo"] * each), rtol=1e-4)
    # The distillation terms compare whole batches and stay as they are.
    plain = toys.distiller()
    plain.compile(keras.optimizers.SGD(0.0))
    weighted = toys.distiller()
    weighted.compile(keras.optimizers.SGD(0.0))
    logs = plain.train_on_batch(x, y, return_dict=True)
    other = weighted.train_on_batch(x, y, sample_weight=weight, return_dict=True)
    np.testing.assert_allclose(other["sketch_feature_loss"], logs["sketch_feature_loss"], rtol=1e-5)
    assert other["loss"] < logs["loss"]


def modes() -> list[dict[str, Any]]:
    """The ways to run a step: eager, graph and XLA, as far as the running backend has them."""
    found: list[dict[str, Any]] = [{"run_eagerly": True}]
    if keras.backend.backend() == "tensorflow":
        return [*found, {"jit_compile": False}, {"jit_compile": True}]
    if keras.backend.backend() == "jax":
        return [*found, {"jit_compile": True}]
    return [*found, {"jit_compile": False}, {"jit_compile": "auto"}]


def test_eager_and_compiled_training_agree() -> None:
    trained = []
    for mode in modes():
        model = toys.distiller(annealing=DECAY(1.0, 3, 0.0))
        model.compile(model.preset_optimizer(steps=3), **mode)
        losses_ = [model.train_on_batch(*toys.batch(i)) for i in range(3)]
        trained.append((model, np.ravel(losses_)))
    first, curve = trained[0]
    for model, losses_ in trained[1:]:
        np.testing.assert_allclose(losses_, curve, rtol=1e-4)
        toys.assert_equal_weights(model, first, rtol=1e-4, atol=1e-4)


def test_saved_and_loaded_it_resumes_where_it_was(tmp_path: Any) -> None:
    model = toys.distiller(annealing=DECAY(1.0, 8, 0.0), feature_weight={"photo": 2, "sketch": 1})
    model.compile(model.preset_optimizer(steps=8))
    model.fit(toys.Stream(3), shuffle=False, epochs=1, verbose=0)
    model.save(tmp_path / "distiller.keras")
    loaded = keras.saving.load_model(tmp_path / "distiller.keras")
    toys.assert_equal_weights(loaded, model)
    assert int(loaded.step) == int(loaded.optimizer.iterations) == 3
    assert loaded.feature_weight == {"photo": 2.0, "sketch": 1.0}
    x, _ = toys.batch(9)
    mine, theirs = (m.predict(x, verbose=0) for m in (loaded, model))
    for name in toys.CLASSES:
        np.testing.assert_array_equal(mine[name], theirs[name])
    for m in (loaded, model):
        m.fit(toys.Stream(2, first=3), shuffle=False, epochs=1, verbose=0)
    toys.assert_equal_weights(loaded, model, rtol=1e-5, atol=1e-6)
    assert not any(w.trainable for teacher in loaded.teachers for w in teacher.weights)


def test_weights_file_carries_the_state_into_a_fresh_model(tmp_path: Any) -> None:
    model = toys.distiller()
    model.compile(model.preset_optimizer(steps=8))
    model.fit(toys.Stream(2), shuffle=False, epochs=1, verbose=0)
    model.save_weights(tmp_path / "state.weights.h5")
    fresh = toys.distiller(seed=7)
    fresh.compile(fresh.preset_optimizer(steps=8))
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.load_weights(tmp_path / "state.weights.h5")
    toys.assert_equal_weights(fresh, model)


def test_keras_callbacks_work_and_an_interrupted_run_ends_as_an_uninterrupted_one(
    tmp_path: Any,
) -> None:
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    def train(*callbacks: keras.callbacks.Callback) -> tuple[UniversalDistiller, dict]:
        model = toys.distiller(annealing=DECAY(1.0, 8, 0.0))
        model.compile(model.preset_optimizer(steps=8))
        history = model.fit(
            toys.Stream(2), epochs=4, verbose=0, shuffle=False, callbacks=list(callbacks)
        )
        return model, history.history

    whole, history = train(
        keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), monitor="loss"),
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        keras.callbacks.EarlyStopping("photo_feature_loss", mode="min", patience=9),
        keras.callbacks.TerminateOnNaN(),
    )
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert {"epoch", *history} <= set(header.split(","))
    assert len(rows) == 4
    toys.assert_equal_weights(keras.saving.load_model(tmp_path / "best.keras"), whole)

    backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
    with pytest.raises(KeyboardInterrupt):
        train(backup, Interrupt())
    resumed, rest = train(keras.callbacks.BackupAndRestore(str(tmp_path / "backup")))
    assert len(rest["loss"]) == 2
    assert int(resumed.step) == 8
    toys.assert_equal_weights(resumed, whole, rtol=1e-5, atol=1e-6)


def test_terminates_when_the_loss_is_not_a_number() -> None:
    class Poisoned(toys.Stream):
        def __getitem__(self, index: int) -> tuple:
            x, y = super().__getitem__(index)
            return {name: value * np.nan for name, value in x.items()}, y

    model = toys.distiller()
    model.compile(keras.optimizers.SGD(0.01))
    callback = keras.callbacks.TerminateOnNaN()
    history = model.fit(Poisoned(2), epochs=3, verbose=0, callbacks=[callback]).history
    assert len(history["loss"]) == 1


def test_trains_from_a_tf_data_stream() -> None:
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices(
        [np.stack([toys.batch(i)[0][n] for i in range(2)]) for n in toys.CLASSES][0]
    )
    y = toys.batch(0)[1]
    data = data.map(lambda x: ({"photo": x, "sketch": x + 1.0}, y)).repeat()
    model = toys.distiller()
    model.compile(model.preset_optimizer(steps=4))
    history = model.fit(data, steps_per_epoch=2, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
    assert int(model.step) == 4


def test_trains_in_bfloat16_with_finite_losses_and_float32_logits() -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = toys.distiller()
        model.compile(model.preset_optimizer(steps=4))
        history = model.fit(toys.Stream(2), shuffle=False, epochs=2, verbose=0).history
        logits = model.student(toys.batch(0)[0], training=False)
    finally:
        keras.config.set_dtype_policy(before)
    assert all(np.isfinite(v).all() for v in history.values())
    assert history["loss"][1] < history["loss"][0]
    assert {keras.backend.standardize_dtype(v.dtype) for v in logits.values()} == {"float32"}


def test_presets_are_what_the_paper_prints_and_what_its_code_does() -> None:
    parts = toys.network(1), toys.teachers()
    paper = UniversalDistiller.preset("paper", *parts, steps=100)
    assert (paper.feature_loss.normalize, paper.temperature, paper.annealing) == (False, 1.0, None)
    released = UniversalDistiller.preset("released", *parts, steps=100)
    assert (released.feature_loss.normalize, released.temperature) == (True, 8.0)
    np.testing.assert_allclose([released.annealing(s) for s in (0, 25, 100)], [1, 0.75, 0])
    assert released.feature_loss.kernel == paper.feature_loss.kernel == "rbf"
    kept = UniversalDistiller.preset("released", *parts, steps=100, temperature=4.0, annealing=None)
    assert (kept.temperature, kept.prediction_loss.temperature, kept.annealing) == (4.0, 4.0, None)


def test_preset_optimizer_is_sgd_for_the_network_and_adam_for_the_adapters() -> None:
    model = toys.distiller()
    optimizer = model.preset_optimizer(steps=120)
    optimizer.build(model.trainable_variables)
    adapters, network = optimizer.optimizers
    assert (type(adapters), type(network)) == (CoupledAdam, CoupledSGD)
    ours = {v.path for adapter in model.alignment_adapters for v in adapter.trainable_variables}
    assert {v.path for v in adapters._trainable_variables} == ours
    theirs = {v.path for v in model.student.trainable_variables}
    assert {v.path for v in network._trainable_variables} == theirs
    for part, steps, rates in (
        (network, (0, 80, 81, 100, 101), (0.01, 0.01, 0.001, 0.001, 0.0001)),
        (adapters, (0, 60, 120), (0.01, 0.005, 0.0)),
    ):
        for step, rate in zip(steps, rates):
            part.iterations.assign(step)
            np.testing.assert_allclose(toys.numpy(part.learning_rate), rate, rtol=1e-5, atol=1e-9)
    assert (network.l2, network.momentum, adapters.l2) == (1e-4, 0.9, 5e-4)


@pytest.mark.parametrize("loss", ["cka_linear", "cosine", "normalized_l2"])
@pytest.mark.parametrize("adapter", ["linear", "nonlinear"])
def test_other_feature_losses_and_adapters_train(loss: str, adapter: str) -> None:
    model = toys.distiller(feature_loss=loss, adapter=adapter)
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    first = model.train_on_batch(*toys.batch(0), return_dict=True)
    assert np.isfinite(first["photo_feature_loss"])
    for part in (model.student, *model.alignment_adapters):
        assert all(np.isfinite(w).all() for w in toys.weights(part))


def test_refuses_what_it_cannot_distil() -> None:
    student, found = toys.network(1), toys.teachers()
    with pytest.raises(ValueError, match="at least one teacher"):
        UniversalDistiller(student, {})
    with pytest.raises(ValueError, match="student's classes.*teacher=4, student=5"):
        UniversalDistiller(student, {"photo": toys.network(2, {"photo": 4})})
    with pytest.raises(ValueError, match=r"'art'.*student=\['photo', 'sketch'\]"):
        UniversalDistiller(student, {"art": found["photo"]})
    with pytest.raises(ValueError, match=r"'photo'.*teacher=\['sketch'\]"):
        UniversalDistiller(student, {"photo": found["sketch"]})
    with pytest.raises(ValueError, match="`name` must be one of"):
        UniversalDistiller.preset("printed", student, found, steps=10)
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        UniversalDistiller(student, found, temperature=0.0)
    with pytest.raises(ValueError, match="`feature_weight` must be a number"):
        UniversalDistiller(student, found, feature_weight={"photo": 1.0})
    with pytest.raises(ValueError, match="as many channels"):
        UniversalDistiller(student, found, adapter="none")
    with pytest.raises(ValueError, match="name of a loss"):
        UniversalDistiller(student, found, feature_loss="cca")
