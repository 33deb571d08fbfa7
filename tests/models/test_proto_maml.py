"""`ProtoMAML` against float64 with gradients by central differences."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import BatchNormalization
from keras_univrep.models import ProtoMAML, PrototypicalNetwork
from tests.models import episodes as toys

RNG = np.random.default_rng(7)
W = RNG.normal(size=(3, 2))
WAY, RATE, EPSILON = 4, 0.05, 1e-5


def normalized(x: np.ndarray, moments: np.ndarray | None) -> np.ndarray:
    """Batch normalisation after the matrix, or nothing."""
    if moments is None:
        return x
    return (x - moments.mean(0)) / np.sqrt(moments.var(0) + EPSILON)


class Oracle:
    """The adapted scores of one episode; `norm` for a normalisation, of these queries' moments."""

    def __init__(self, one: toys.Episode, steps: int, norm: str | None = None) -> None:
        self.support, self.queries = (
            one[f"{part}_images"].astype("float64") for part in ("support", "query")
        )
        self.labels, self.targets = one["support_labels"], one["query_labels"]
        self.absent = [k for k in range(WAY) if not (self.labels == k).any()]
        self.steps, self.norm = steps, norm

    def start(self, weight: np.ndarray) -> np.ndarray:
        """The weight and the head as one vector."""
        centres = toys.means(self.embed(weight), self.labels, WAY)
        return np.concatenate([weight.ravel(), 2 * centres.T.ravel(), -(centres**2).sum(-1)])

    def embed(self, weight: np.ndarray) -> np.ndarray:
        raw = self.support @ weight
        return normalized(raw, raw if self.norm else None)

    def head(self, features: np.ndarray, values: np.ndarray) -> np.ndarray:
        found = features @ values[W.size : -WAY].reshape(2, WAY) + values[-WAY:]
        found[:, self.absent] = -1e9
        return found

    def support_loss(self, values: np.ndarray) -> float:
        features = self.embed(values[: W.size].reshape(W.shape))
        return toys.cross_entropy(self.head(features, values), self.labels)

    def shift(self, weight: np.ndarray) -> np.ndarray:
        """What the inner steps add."""
        first = values = self.start(weight)
        for _ in range(self.steps):
            values = values - RATE * toys.differences(self.support_loss, values, 1e-5)
        return values - first

    def scores(self, values: np.ndarray, moments_at: np.ndarray | None = None) -> np.ndarray:
        weight = values[: W.size].reshape(W.shape)
        raw = self.queries @ weight
        moments = None
        if self.norm == "batch":
            moments = raw
        elif self.norm == "support":
            at = values if moments_at is None else moments_at
            moments = self.support @ at[: W.size].reshape(W.shape)
        return self.head(normalized(raw, moments), values)

    def loss(self, weight: np.ndarray, first_order: bool) -> float:
        """Query loss; moments of the support set and, first-order, the shift are those at W."""
        base = self.start(W) + self.shift(W)
        shift = self.shift(W) if first_order else self.shift(weight)
        scores = self.scores(self.start(weight) + shift, base)
        return toys.cross_entropy(scores, self.targets)


def backbone(norm: bool) -> keras.Model:
    if not norm:
        return toys.linear_backbone(W)
    inputs = keras.Input((3,))
    layer = keras.layers.Dense(2, use_bias=False)
    model = keras.Model(inputs, BatchNormalization(epsilon=EPSILON, center=True)(layer(inputs)))
    layer.kernel.assign(W.astype("float32"))
    return model


def loss_and_gradient(model: ProtoMAML, batch: toys.Episode) -> tuple[float, np.ndarray]:
    x = {key: ops.convert_to_tensor(value) for key, value in batch.items()}
    loss, _, grads = backend.gradients(
        lambda: (model.compute_loss(x=x, y_pred=model(x, training=True)), ()),
        model.trainable_variables,
    )
    return float(loss), ops.convert_to_numpy(grads[0])


@pytest.mark.parametrize("first_order", [True, False])
@pytest.mark.parametrize("steps", [0, 2])
def test_loss_and_meta_gradient_equal_central_differences(first_order: bool, steps: int) -> None:
    one = toys.episode(0)
    oracle = Oracle(one, steps)
    model = ProtoMAML(backbone(False), WAY, steps, RATE, first_order)
    loss, grad = loss_and_gradient(model, one)
    np.testing.assert_allclose(loss, oracle.loss(W, first_order), rtol=1e-4)
    wanted = toys.differences(lambda w: oracle.loss(w, first_order), W, 1e-3)
    np.testing.assert_allclose(grad, wanted, rtol=2e-2, atol=2e-3)


def test_the_orders_differ() -> None:
    one = toys.episode(0)
    grads = [
        loss_and_gradient(ProtoMAML(backbone(False), WAY, 2, RATE, first_order), one)[1]
        for first_order in (True, False)
    ]
    assert np.abs(grads[0] - grads[1]).max() > 1e-2 * np.abs(grads[0]).max()


@pytest.mark.parametrize("moments", ["support", "batch"])
def test_queries_are_normalised_by_the_moments_that_are_asked_for(moments: str) -> None:
    one = toys.episode(2)
    oracle = Oracle(one, 1, moments)
    network = backbone(True)
    model = ProtoMAML(network, WAY, 1, RATE, query_moments=moments)
    before = [ops.convert_to_numpy(v).copy() for v in network.non_trainable_variables]
    loss, grad = loss_and_gradient(model, one)
    # The normalisation's own scale and shift take an inner step as well.
    assert np.isfinite(loss) and np.abs(grad).max() > 0.0
    for variable, value in zip(network.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)
    # At no steps all is closed form.
    oracle.steps = 0
    still = ProtoMAML(network, WAY, 0, RATE, query_moments=moments)
    found = ops.convert_to_numpy(still(one))
    np.testing.assert_allclose(found, oracle.scores(oracle.start(W)), rtol=1e-3, atol=1e-3)
    loss, grad = loss_and_gradient(still, one)
    wanted = toys.differences(lambda w: oracle.loss(w, True), W, 1e-4)
    np.testing.assert_allclose(grad, wanted, rtol=1e-2, atol=1e-3)


def test_without_steps_it_is_the_prototypical_network() -> None:
    batch = toys.stack(toys.episode(0), toys.episode(1))
    found = ops.softmax(ProtoMAML(backbone(False), WAY, 0)(batch))
    wanted = ops.softmax(PrototypicalNetwork(backbone(False), WAY)(batch))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), ops.convert_to_numpy(wanted), rtol=1e-4, atol=1e-6
    )


def test_episodes_of_a_batch_adapt_alone_and_padding_counts_for_nothing() -> None:
    one, two = toys.episode(0), toys.episode(1, shots=(2, 2), queries=3)
    model = ProtoMAML(backbone(False), WAY, 2, RATE)
    batch = toys.stack(toys.padded(one, 7, 5), toys.padded(two, 7, 5))
    found = ops.convert_to_numpy(model(batch))
    for row, single in zip(found, (one, two), strict=True):
        alone = ops.convert_to_numpy(model(single))
        np.testing.assert_allclose(row[: len(alone)], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first_order", [True, False])
def test_it_trains_under_compiled_fit(first_order: bool, tmp_path) -> None:
    batch = toys.stack(toys.episode(0), toys.episode(1))
    model = ProtoMAML(backbone(True), WAY, 1, RATE, first_order, "batch")
    model.compile(keras.optimizers.SGD(0.05))
    losses = [float(model.train_on_batch(batch)[0]) for _ in range(5)]
    assert losses[-1] < losses[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    configs = [{**m.get_config(), "backbone": None} for m in (again, model)]
    assert configs[0] == configs[1]
    np.testing.assert_allclose(
        ops.convert_to_numpy(again(batch)), model.predict(batch, verbose=0), rtol=1e-4, atol=1e-5
    )


def test_what_cannot_be_is_refused() -> None:
    for name, value in (("steps", -1), ("learning_rate", 0.0), ("query_moments", "moving")):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            ProtoMAML(backbone(False), 3, **{name: value})
