"""`EpisodicModel`: what padding, absent classes and batches of episodes count for."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from keras_univrep.datasets import EpisodeSampler, episode_batches, episode_pipeline
from keras_univrep.models import EpisodicModel
from tests.models import episodes as toys


class Leaf(EpisodicModel):
    """Scores that depend on each support sample, by a matrix that trains."""

    def __init__(self, way: int, channels: int = 3, **kwargs) -> None:
        super().__init__(way, **kwargs)
        self.matrix = self.add_weight(shape=(channels, channels), initializer="ones")
        self.offset = self.add_weight(shape=(way,), initializer="zeros")
        self.build(None)

    def episode_scores(self, support_images, support_labels, query_images, training=None):
        own = ops.equal(support_labels[..., None], ops.arange(self.way))
        sums = ops.matmul(ops.swapaxes(ops.cast(own, "float32"), 1, 2), support_images)
        return ops.matmul(ops.matmul(query_images, self.matrix), ops.swapaxes(sums, 1, 2)) + (
            self.offset
        )


def leaf(way: int = 4) -> Leaf:
    model = Leaf(way)
    rng = np.random.default_rng(3)
    for weight in model.trainable_variables:
        weight.assign((0.5 * rng.normal(size=tuple(weight.shape))).astype("float32"))
    return model


def scores_of(model: Leaf, one: toys.Episode) -> np.ndarray:
    matrix, offset = (ops.convert_to_numpy(v).astype("float64") for v in model.trainable_variables)
    labels = one["support_labels"]
    sums = np.stack([one["support_images"][labels == k].sum(0) for k in range(model.way)])
    found = one["query_images"] @ matrix @ sums.T + offset
    found[:, [k for k in range(model.way) if not (labels == k).any()]] = -1e9
    return found


def loss_and_gradients(model: Leaf, batch: toys.Episode) -> tuple[float, list[np.ndarray]]:
    x = {key: ops.convert_to_tensor(value) for key, value in batch.items()}

    def fn():
        return model.compute_loss(x=x, y_pred=model(x, training=True)), ()

    loss, _, grads = backend.gradients(fn, model.trainable_variables)
    return float(loss), [ops.convert_to_numpy(grad) for grad in grads]


def test_a_batch_is_its_episodes_and_one_episode_needs_no_axis() -> None:
    model, one, two = leaf(), toys.episode(0), toys.episode(1)
    batch = toys.stack(one, two)
    found = ops.convert_to_numpy(model(batch))
    for row, single in zip(found, (one, two), strict=True):
        np.testing.assert_allclose(row, scores_of(model, single), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(ops.convert_to_numpy(model(single)), row, rtol=1e-6)
    loss, _ = loss_and_gradients(model, batch)
    wanted = [toys.cross_entropy(scores_of(model, e), e["query_labels"]) for e in (one, two)]
    np.testing.assert_allclose(loss, np.mean(wanted), rtol=1e-5)


def test_padding_counts_for_nothing() -> None:
    model, one, two = leaf(), toys.episode(0), toys.episode(1, shots=(1, 2), queries=2)
    loss, grads = loss_and_gradients(model, one)
    long_loss, long_grads = loss_and_gradients(model, toys.padded(one, 9, 7))
    np.testing.assert_allclose(long_loss, loss, rtol=1e-6)
    for grad, other in zip(grads, long_grads, strict=True):
        np.testing.assert_allclose(other, grad, rtol=1e-5, atol=1e-7)
    # Episodes of different sizes count alike, and one without queries not at all.
    empty = toys.padded(one, 9, 7)
    empty["query_labels"][:] = -1
    batch = toys.stack(toys.padded(one, 9, 7), toys.padded(two, 9, 7), empty)
    wanted = [toys.cross_entropy(scores_of(model, e), e["query_labels"]) for e in (one, two)]
    model.compile("sgd", run_eagerly=True)
    found = model.test_on_batch(batch, return_dict=True)
    np.testing.assert_allclose(found["loss"], np.mean(wanted), rtol=1e-5)
    right = [np.mean(scores_of(model, e).argmax(-1) == e["query_labels"]) for e in (one, two)]
    np.testing.assert_allclose(found["accuracy"], np.mean(right), rtol=1e-6)


def test_an_absent_class_has_no_probability_and_no_gradient() -> None:
    model, one = leaf(4), toys.episode(0)
    assert (ops.convert_to_numpy(model(one))[:, 3] == -1e9).all()
    _, (_, grad) = loss_and_gradients(model, one)
    assert grad[3] == 0.0 and (grad[:3] != 0.0).all()


def test_a_label_above_the_way_shows_as_nan() -> None:
    one = toys.episode(0)
    one["query_labels"][0] = 4
    loss, _ = loss_and_gradients(leaf(4), one)
    assert np.isnan(loss)


@pytest.mark.parametrize("batch_size", [None, 2])
def test_episodes_train_it_under_compiled_fit(batch_size: int | None) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 8)
    features = (np.eye(6)[labels] + 0.1 * rng.normal(size=(48, 6))).astype("float32")
    sampler = EpisodeSampler(labels, way=(2, 4), query=2, max_support_per_class=2)
    arguments = {"batch_size": batch_size, "pad_to": sampler.largest_size, "training": True}
    model = Leaf(4, channels=6)
    model.compile(keras.optimizers.Adam(0.05))
    batches = episode_batches((features, labels), None, sampler, 4, **arguments)
    history = model.fit(batches, epochs=6, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert 0.0 <= history["accuracy"][-1] <= 1.0
    pipeline = episode_pipeline((features, labels), None, sampler, 4, **arguments)
    history = model.fit(pipeline, steps_per_epoch=2, verbose=0).history
    assert np.isfinite(history["loss"][0])
    one = next(iter(pipeline.as_numpy_iterator()))
    assert model.predict(one if batch_size else toys.stack(one), verbose=0).shape[-1] == 4


def test_an_own_regularizer_is_part_of_the_loss() -> None:
    model, one = leaf(), toys.episode(0)
    before, _ = loss_and_gradients(model, one)
    model.matrix.regularizer = keras.regularizers.L2(0.1)
    penalty = 0.1 * np.sum(np.square(ops.convert_to_numpy(model.matrix)))
    np.testing.assert_allclose(loss_and_gradients(model, one)[0], before + penalty, rtol=1e-5)


def test_what_cannot_be_is_refused() -> None:
    for way in (1, 2.0, True):
        with pytest.raises(ValueError, match="`way` must be"):
            Leaf(way)
    model, one = leaf(), toys.episode(0)
    for name in ("loss", "metrics", "weighted_metrics"):
        with pytest.raises(ValueError, match=f"`{name}` must be None"):
            model.compile("sgd", **{name: "mse" if name == "loss" else ["accuracy"]})
    with pytest.raises(ValueError, match="without .'support_labels'"):
        model.call({key: value for key, value in one.items() if key != "support_labels"})
    with pytest.raises(ValueError, match="'query_labels'"):
        model.compute_loss(x={"support_images": 0}, y_pred=None)
    with pytest.raises(NotImplementedError, match="must define `episode_scores"):
        EpisodicModel(3).call(one)

    class Wrong(EpisodicModel):
        def episode_scores(self, support_images, support_labels, query_images, training=None):
            return ops.zeros((1, 4, 2))

    with pytest.raises(ValueError, match="way=3"):
        Wrong(3).call(one)
