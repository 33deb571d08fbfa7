"""`MAML` against float64 with central differences, and under fit."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.datasets import sinusoid
from keras_univrep.layers import BatchNormalization, Conv2D
from keras_univrep.models import MAML
from tests.models import meta_tasks as toys

RATE = 0.3


def compiled(model: MAML, rate: float = 0.1) -> MAML:
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("vectorize", [True, False])
def test_loss_and_meta_gradient_equal_central_differences(
    first_order: bool, vectorize: bool
) -> None:
    values, data = toys.weights(), toys.tasks()
    rates = [RATE] * len(values)
    model = compiled(MAML(toys.network(values), 2, RATE, first_order, vectorize=vectorize))
    loss, grads = toys.loss_and_gradients(model, data)
    shift_at = values if first_order else None
    np.testing.assert_allclose(loss, toys.meta_loss(values, data, rates, 2), rtol=1e-5)
    wanted = toys.differences(lambda v: toys.meta_loss(v, data, rates, 2, shift_at), values)
    toys.close(grads, wanted)


@pytest.mark.parametrize("learn_rates", ["variable", "element"])
def test_learned_rates_have_their_gradients(learn_rates: str) -> None:
    values, data = toys.weights(), toys.tasks()
    model = compiled(MAML(toys.network(values), 2, RATE, learn_rates=learn_rates))
    _, grads = toys.loss_and_gradients(model, data)
    shapes = [v.shape if learn_rates == "element" else () for v in values]
    rates = [np.full(shape, RATE) for shape in shapes]
    wanted = toys.differences(lambda r: toys.meta_loss(values, data, r, 2), rates)
    toys.close(grads[len(values) :], wanted)
    assert [grad.shape for grad in grads[len(values) :]] == shapes


def test_a_step_moves_weights_along_the_gradient_and_evaluation_takes_its_own_steps() -> None:
    values, data = toys.weights(), toys.tasks()
    model = compiled(MAML(toys.network(values), 1, RATE, test_steps=3))
    _, grads = toys.loss_and_gradients(model, data)
    rates = [RATE] * len(values)
    np.testing.assert_allclose(
        model.evaluate(data, verbose=0, return_dict=True)["loss"],
        toys.meta_loss(values, data, rates, 3),
        rtol=1e-5,
    )
    logs = model.train_on_batch(data, return_dict=True)
    np.testing.assert_allclose(logs["loss"], toys.meta_loss(values, data, rates, 1), rtol=1e-5)
    assert logs["skipped"] == logs["diverged"] == 0
    moved = [v - 0.1 * grad for v, grad in zip(values, grads, strict=True)]
    toys.close(model.network.get_weights(), moved, 1e-5)


def test_weights_of_samples_and_padding_of_episodes_count() -> None:
    values, data = toys.weights(), toys.tasks(query=4)
    rng = np.random.default_rng(0)
    model = compiled(MAML(toys.network(values), 2, RATE))
    whole, _ = toys.loss_and_gradients(model, data)
    padded = {}
    for part, (x, y) in data.items():
        junk = rng.normal(size=(len(x), 2, 1)).astype("float32")
        weight = np.concatenate([np.full(x.shape[:2], 3.0), np.zeros((len(x), 2))], axis=1)
        padded[part] = (
            np.concatenate([x, np.repeat(junk, 2, axis=2)], axis=1),
            np.concatenate([y, junk], axis=1),
            weight.astype("float32"),
        )
    np.testing.assert_allclose(toys.loss_and_gradients(model, padded)[0], whole, rtol=1e-5)


def classifier(norm: bool = True) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((3,)), keras.layers.Dense(4)]
    return keras.Sequential([*layers, *([BatchNormalization()] * norm), keras.layers.Dense(3)])


def test_it_takes_episodes_and_trains_on_them() -> None:
    from tests.models import episodes

    batch = episodes.stack(episodes.episode(0), episodes.episode(1))
    model = MAML(classifier(), 2, 0.1)
    model.compile(
        keras.optimizers.Adam(0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    losses = [model.train_on_batch(batch)[0] for _ in range(6)]
    assert losses[-1] < losses[0]
    assert 0.0 <= model.evaluate(batch, verbose=0, return_dict=True)["accuracy"] <= 1.0
    scores = model.predict(batch, verbose=0)
    assert scores.shape == (2, 4, 3)
    np.testing.assert_allclose(
        ops.convert_to_numpy(model(episodes.episode(0))), scores[0], rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("moments", ["batch", "support"])
def test_queries_see_one_another_only_if_asked_for(moments: str) -> None:
    data = toys.tasks(1)
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(3), BatchNormalization(), keras.layers.Dense(1)]
    )
    before = [ops.convert_to_numpy(v).copy() for v in network.weights]
    model = compiled(MAML(network, 1, 0.1, query_moments=moments))
    whole = model.predict(data, verbose=0)
    first = {"support": data["support"], "query": data["query"][0][:, :2]}
    alone = model.predict(first, verbose=0)
    assert np.allclose(alone, whole[:, :2], atol=1e-5) == (moments == "support")
    model.evaluate(data, verbose=0)
    for variable, value in zip(network.weights, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    model.train_on_batch(data)
    for layer in network.layers:
        if isinstance(layer, BatchNormalization):
            np.testing.assert_array_equal(ops.convert_to_numpy(layer.moving_mean), np.zeros(3))


def test_forms_over_tasks_agree_with_convolutions_and_batch_normalisation() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((2, 3, 4, 4, 1), "float32")
    y = np.array([[0, 1, 0], [1, 0, 1]])
    data = {"support": (x, y), "query": (x[:, ::-1], y[:, ::-1])}
    found = []
    for vectorize in (True, False):
        keras.utils.set_random_seed(0)
        layers = [Conv2D(2, 3), BatchNormalization(), keras.layers.ReLU(), keras.layers.Flatten()]
        network = keras.Sequential([keras.Input((4, 4, 1)), *layers, keras.layers.Dense(2)])
        model = MAML(network, 2, 0.1, vectorize=vectorize)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss)
        found.append(toys.loss_and_gradients(model, data))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-4)
    top = max(np.abs(grad).max() for grad in found[0][1])
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3 * top)


def test_a_diverging_task_is_counted_and_its_step_left_out() -> None:
    values, data = toys.weights(), toys.tasks(3)
    broken = {"support": tuple(a.copy() for a in data["support"]), "query": data["query"]}
    broken["support"][1][1, 0, 0] = np.inf
    model = MAML(toys.network(values), 1, RATE)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    model.train_on_batch(data)
    before = [ops.convert_to_numpy(v) for v in model.weights + model.optimizer.variables]
    logs = model.train_on_batch(broken, return_dict=True)
    assert logs["skipped"] == 1 and logs["diverged"] == 1
    names = [v.path for v in model.weights + model.optimizer.variables]
    after = [ops.convert_to_numpy(v) for v in model.weights + model.optimizer.variables]
    for name, one, other in zip(names, before, after, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)
    history = model.fit(
        {k: tuple(np.concatenate([a, b]) for a, b in zip(data[k], broken[k])) for k in data},
        batch_size=3,
        shuffle=False,
        verbose=0,
    ).history
    assert history["skipped"] == [1.0] and np.isfinite(history["loss"][0])
    with pytest.raises(RuntimeError, match="inner loss must stay finite"):
        model.fit(broken, batch_size=3, verbose=0)


def test_a_saved_model_goes_on(tmp_path) -> None:
    data = toys.tasks()
    model = MAML(toys.network(toys.weights()), 2, 0.1, learn_rates="element")
    model.compile(keras.optimizers.Adam(0.01), "mse", inner_loss="mae")
    held_out = toys.tasks(4, seed=3)
    history = model.fit(
        data, batch_size=2, verbose=0, validation_data=held_out, validation_batch_size=2
    ).history
    logs = model.evaluate(held_out, batch_size=4, verbose=0, return_dict=True)
    np.testing.assert_allclose(history["val_loss"][0], logs["loss"], rtol=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert {**again.get_config(), "network": 0} == {**model.get_config(), "network": 0}
    for _ in range(2):
        np.testing.assert_allclose(
            again.train_on_batch(data), model.train_on_batch(data), rtol=1e-5
        )


def test_what_cannot_be_is_refused() -> None:
    network, data = toys.network(toys.weights()), toys.tasks()
    for name, value in (
        ("steps", -1),
        ("learning_rate", 0.0),
        ("learn_rates", "all"),
        ("query_moments", "moving"),
        ("test_steps", 1.5),
        ("vectorize", "no"),
    ):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            MAML(network, **{name: value})
    with pytest.raises(ValueError, match="`network` must be a built"):
        MAML(keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match="`network` must not draw"):
        MAML(keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5)]))
    with pytest.raises(ValueError, match="`loss` must be a loss"):
        MAML(network).compile("sgd")
    with pytest.raises(ValueError, match="compiled with a loss"):
        MAML(network)(data)
    model = compiled(MAML(network))
    x, y = data["support"]
    for bad, match in (
        ({"support": (x[:, :0], y[:, :0]), "query": (x, y)}, "must have a support set"),
        ({"support": (x, y[:, :2]), "query": (x, y)}, "Targets of the support set must be"),
        ({"support": (x, np.repeat(y, 2, -1)), "query": (x, y)}, "must have the shape of the out"),
        ({"support": (x, y), "query": (x, np.repeat(y, 2, -1))}, "must have the shape of the out"),
        ({"support": (x, y), "query": (x[:1], y[:1])}, "as many tasks"),
        ({"support": x, "query": (x, y)}, "inputs and targets"),
        ({"support": (x, y)}, "without .'query'"),
        ((x, y), "must be a dictionary"),
    ):
        with pytest.raises(ValueError, match=match):
            model.train_on_batch(bad)
    with pytest.raises(ValueError, match="'query' must hold targets"):
        model.evaluate({"support": (x, y), "query": x}, verbose=0)


@pytest.mark.slow
@pytest.mark.parametrize(("shots", "most"), [(10, 0.5), (5, 0.85)])
def test_sine_waves_are_learned_in_one_step(shots: int, most: float) -> None:
    """Finn et al. 2017 sec. 5.1; peers: 0.34 of ten points and 0.58 of five."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(40, "relu") for _ in range(2)]
    network = keras.Sequential([keras.Input((1,)), *layers, keras.layers.Dense(1)])
    model = MAML(network, 1, 0.01)
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    train = sinusoid(support=shots)
    model.fit(train.batches(25), steps_per_epoch=20_000, verbose=0)
    batch = sinusoid(split="test", support=shots).batch(0, 600)
    assert model.evaluate(batch, batch_size=600, verbose=0, return_dict=True)["loss"] < most
