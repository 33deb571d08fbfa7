"""`TrainStep` and `apply_gradients` against the step that Keras itself takes."""

from collections.abc import Callable, Iterator

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import BatchNormalization

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 6)).astype("float32")
Y = RNG.integers(0, 3, 20)
WEIGHT = RNG.random(20).astype("float32")
SGD, ADAM = keras.optimizers.SGD, keras.optimizers.Adam


def multi(default: keras.optimizers.Optimizer, head: keras.optimizers.Optimizer) -> object:
    pairs = keras.optimizers.OptimizerMap(default, {"head/.*": head})
    return keras.optimizers.MultiOptimizer(pairs)


OPTIMIZERS: dict[str, Callable[[], keras.optimizers.Optimizer]] = {
    "sgd with decay": lambda: SGD(0.1, momentum=0.9, weight_decay=1e-3),
    "adam": lambda: ADAM(1e-2),
    "ema": lambda: ADAM(1e-2, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=2),
    "accumulation": lambda: SGD(0.1, gradient_accumulation_steps=2, global_clipnorm=1.0),
    "loss scale": lambda: keras.optimizers.LossScaleOptimizer(SGD(0.1)),
    "multi": lambda: multi(SGD(0.1, momentum=0.9), ADAM(1e-2)),
    "multi ema": lambda: multi(SGD(0.1, use_ema=True), ADAM(1e-2, use_ema=True)),
    "scaled multi": lambda: keras.optimizers.LossScaleOptimizer(multi(SGD(0.1), ADAM(1e-2))),
}


class Penalty(keras.layers.Layer):
    """Adds a loss from inside the network."""

    def call(self, inputs: object) -> object:
        self.add_loss(1e-2 * ops.mean(ops.square(ops.cast(inputs, "float32"))))
        return inputs


class Stepped(backend.TrainStep, keras.Model):
    """Keras's own step, written as an `update`."""

    def update(self, data: tuple) -> dict:
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)

        def forward() -> tuple:
            y_pred = self(x, training=True)
            loss = self.compute_loss(
                x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=True
            )
            return loss, y_pred

        variables = self.trainable_variables
        loss, y_pred, grads = backend.gradients(forward, variables, self.optimizer)
        backend.apply_gradients(self.optimizer, grads, variables)
        self.track_loss(loss, x)
        return self.compute_metrics(x, y, y_pred, sample_weight)


@pytest.fixture
def mixed_float16() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


def make(cls: type[keras.Model]) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, kernel_regularizer="l2")(inputs)
    x = keras.layers.ReLU()(BatchNormalization()(x))
    x = keras.layers.Dropout(0.3, seed=1)(Penalty()(x))
    return cls(inputs, keras.layers.Dense(3, name="head", dtype="float32")(x))


def train(
    cls: type[keras.Model], optimizer: keras.optimizers.Optimizer, **kwargs: object
) -> tuple[keras.Model, list[np.ndarray], dict]:
    model = make(cls)
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["sparse_categorical_accuracy"],
    )
    # Twenty examples in eights: the last batch is partial.
    history = model.fit(
        X, Y, sample_weight=WEIGHT, batch_size=8, epochs=3, shuffle=False, verbose=0, **kwargs
    ).history
    return model, [ops.convert_to_numpy(w) for w in model.weights], history


def assert_equal_training(make_optimizer: Callable[[], keras.optimizers.Optimizer]) -> None:
    start = [ops.convert_to_numpy(w) for w in make(keras.Model).weights]
    theirs, their_weights, their_history = train(keras.Model, make_optimizer())
    ours, our_weights, our_history = train(Stepped, make_optimizer())
    assert isinstance(ours, backend.TrainStep)
    for ours_w, theirs_w, start_w in zip(our_weights, their_weights, start, strict=True):
        np.testing.assert_allclose(ours_w, theirs_w, rtol=1e-5, atol=1e-6)
        assert not np.array_equal(ours_w, start_w)
    assert our_history.keys() == their_history.keys()
    for key, values in their_history.items():
        np.testing.assert_allclose(our_history[key], values, rtol=1e-5)
    # Iterations, slots, averages and the loss scale.
    for ours_v, theirs_v in zip(ours.optimizer.variables, theirs.optimizer.variables, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(ours_v), ops.convert_to_numpy(theirs_v), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_trains_as_the_step_of_keras_does(name: str) -> None:
    assert_equal_training(OPTIMIZERS[name])


def test_trains_in_mixed_float16_as_the_step_of_keras_does(mixed_float16: None) -> None:
    assert_equal_training(lambda: SGD(0.1))


def test_evaluates_with_the_step_of_keras_unless_told_otherwise() -> None:
    theirs = train(keras.Model, SGD(0.1))[0].evaluate(X, Y, verbose=0, return_dict=True)
    ours = train(Stepped, SGD(0.1))[0].evaluate(X, Y, verbose=0, return_dict=True)
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, rtol=1e-5)


def test_gradients_are_allowed_in_evaluation() -> None:
    class Adapting(Stepped):
        def evaluate_update(self, data: tuple) -> dict:
            x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
            kernel = self.get_layer("head").kernel

            def forward() -> tuple:
                return self.compute_loss(x=x, y=y, y_pred=self(x, training=False)), ()

            loss, _, (grad,) = backend.gradients(forward, [kernel])
            self.track_loss(ops.sum(ops.square(grad)), x)
            return {"loss": self.metrics[0].result(), "plain": loss}

    model = train(Adapting, SGD(0.1))[0]
    logs = model.evaluate(X, Y, batch_size=20, verbose=0, return_dict=True)
    kernel = model.get_layer("head").kernel
    features = keras.Model(model.input, model.get_layer("head").input)(X, training=False)
    features, head = ops.convert_to_numpy(features).astype("float64"), ops.convert_to_numpy(kernel)
    logits = features @ head + ops.convert_to_numpy(model.get_layer("head").bias)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    grad = features.T @ (shares - np.eye(3)[Y]) / 20
    np.testing.assert_allclose(logs["loss"], np.sum(grad**2), rtol=1e-3)


def test_train_on_batch_and_eager_steps_train_alike() -> None:
    compiled, eager = (make(Stepped) for _ in range(2))
    for model, run_eagerly in ((compiled, False), (eager, True)):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(SGD(0.1), loss, run_eagerly=run_eagerly)
        for _ in range(2):
            model.train_on_batch(X, Y)
    for a, b in zip(compiled.weights, eager.weights, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(a), ops.convert_to_numpy(b), rtol=1e-4, atol=1e-5
        )


def test_trains_a_model_that_is_not_yet_built() -> None:
    class Unbuilt(backend.TrainStep, keras.Model):
        update = Stepped.update

        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(3, kernel_initializer="zeros")

        def call(self, inputs: object) -> object:
            return self.dense(inputs)

    model = Unbuilt()
    model.compile(SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, batch_size=20, verbose=0)
    expected = 0.1 * X.T @ (np.eye(3)[Y] - 1 / 3) / 20
    actual = ops.convert_to_numpy(model.dense.kernel)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


def test_no_gradient_leaves_a_variable_where_it_is() -> None:
    for optimizer in (SGD(0.5, weight_decay=0.1), multi(SGD(0.5), ADAM(0.5))):
        moved, kept = keras.Variable(1.0), keras.Variable(1.0)
        optimizer.build([moved, kept])
        with pytest.warns(UserWarning, match="do not exist"):
            backend.apply_gradients(optimizer, [ops.ones(())], [moved])
        assert float(moved) < 0.6
        assert float(kept) == 1.0


def test_order_of_the_variables_is_free() -> None:
    first, second = keras.Variable(1.0), keras.Variable(1.0)
    optimizer = SGD(1.0)
    optimizer.build([first, second])
    backend.apply_gradients(optimizer, [ops.ones(()) * 2.0, ops.ones(()) * 3.0], [second, first])
    assert (float(first), float(second)) == (-2.0, -1.0)


def test_refuses_variables_that_the_optimizer_does_not_know() -> None:
    known, other = keras.Variable(1.0), keras.Variable(1.0)
    optimizer = SGD(1.0)
    optimizer.build([known])
    with pytest.raises(ValueError, match="built with"):
        backend.apply_gradients(optimizer, [1.0], [other])


def test_refuses_a_wrong_number_of_gradients() -> None:
    with pytest.raises(ValueError, match="one entry per entry"):
        backend.apply_gradients(SGD(1.0), [], [keras.Variable(1.0)])


def test_refuses_a_model_without_update() -> None:
    with pytest.raises(TypeError, match="Forgetful"):

        class Forgetful(backend.TrainStep, keras.Model):
            pass


def test_refuses_to_stand_behind_the_model() -> None:
    with pytest.raises(TypeError, match="before `keras.Model`"):

        class Swapped(keras.Model, backend.TrainStep):
            def update(self, data: tuple) -> dict:
                return {}


def test_tracking_a_loss_needs_a_compiled_model() -> None:
    with pytest.raises(ValueError, match="compiled"):
        make(Stepped).track_loss(1.0, X)
