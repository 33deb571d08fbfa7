"""CNAPS: the backbone and its head at first, episodes apart, training of what adapts alone."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep.backbones import ResNet18, ResNet26
from keras_univrep.evaluation import evaluate_episodes
from keras_univrep.few_shot import SimpleCNAPS
from keras_univrep.models import CNAPS, EpisodeClassifier
from tests.harness import bits, check_config, randomize

RNG = np.random.default_rng(0)
SIZE, WAY = 8, 4
HEADS = ("linear", "mahalanobis")
LABELS = np.array([[0, 0, 1, 1, 2, 2], [2, 1, 0, 1, 0, -1]], "int32")
QUERY_LABELS = np.array([[0, 1, 2], [2, 1, -1]], "int32")


def tiny_backbone() -> keras.Model:
    """Two normalisations of the first stage, and one of the second."""
    x = images = keras.Input((SIZE, SIZE, 3))
    for name, filters in (("first_block1", 4), ("first_block2", 4), ("second_block1", 5)):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(name=name)(x))
    network = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x), name="tiny")
    randomize(network, 1)
    return network


def cnaps(head: str = "linear", auto_regressive: bool = False, seed: int | None = None) -> CNAPS:
    model = CNAPS(tiny_backbone(), WAY, head, auto_regressive, filters=4, blocks=1)
    if seed is not None:
        frozen = [np.array(value) for value in model.backbone.get_weights()]
        randomize(model, seed)
        model.backbone.set_weights(frozen)
    return model


def batch(seed: int = 0) -> dict[str, np.ndarray]:
    """Two episodes whose classes differ in colour; the last support sample is padding."""
    rng = np.random.default_rng(seed)
    colours = rng.normal(size=(2, 4, 1, 1, 3))

    def draw(labels: np.ndarray) -> np.ndarray:
        images = rng.normal(size=(*labels.shape, SIZE, SIZE, 3))
        return (images + 2 * colours[np.arange(2)[:, None], labels]).astype("float32")

    return {
        "support_images": draw(LABELS),
        "support_labels": LABELS,
        "query_images": draw(QUERY_LABELS),
        "query_labels": QUERY_LABELS,
    }


class Episodes(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray]]:
        return (batch(index),)


def numpy(x: object) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(x))


def plain_features(backbone: keras.Model, images: np.ndarray) -> np.ndarray:
    flat = images.reshape(-1, *images.shape[2:])
    return numpy(backbone(flat, training=False)).reshape(*images.shape[:2], -1)


def expected_scores(model: CNAPS, inputs: dict[str, np.ndarray], episode: int) -> np.ndarray:
    """The head on features of the backbone alone, (queries, classes that are there)."""
    x, queries = (
        plain_features(model.backbone, inputs[f"{part}_images"])[episode].astype("float64")
        for part in ("support", "query")
    )
    labels = inputs["support_labels"][episode]
    x, labels = x[labels >= 0], labels[labels >= 0]
    if model.head == "mahalanobis":
        return SimpleCNAPS().fit(x, labels).scores(queries)
    means = np.stack([x[labels == label].mean(axis=0) for label in np.unique(labels)])

    def block(network: keras.layers.Layer, x: np.ndarray) -> np.ndarray:
        y = x
        for number, dense in enumerate(network.dense):
            y = np.where(y > 0, y, np.exp(np.minimum(y, 0)) - 1) if number else y
            y = y @ numpy(dense.kernel) + numpy(dense.bias)
        return y + x if y.shape == x.shape else y

    weights, biases = block(model.weight_network, means), block(model.bias_network, means)
    return queries @ weights.T + biases[:, 0]


@pytest.mark.parametrize("auto_regressive", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_an_untrained_model_is_the_backbone_with_its_head(head: str, auto_regressive: bool) -> None:
    model = cnaps(head, auto_regressive, seed=2)
    for generator in model.generators:
        generator.scale.assign(ops.zeros(generator.scale.shape))
    inputs = batch()
    scores = numpy(model(inputs))
    assert scores.shape == (2, 3, WAY)
    for episode in range(2):
        expected = expected_scores(model, inputs, episode)
        np.testing.assert_allclose(scores[episode, :, :3], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(scores[..., 3], np.full((2, 3), -1e9, "float32"))


@pytest.mark.slow
def test_it_is_so_with_the_residual_network_of_the_paper() -> None:
    backbone = ResNet18(width=0.0625)
    randomize(backbone)
    model = CNAPS(backbone, WAY, "mahalanobis", True, filters=4, blocks=1)
    assert [(g.filters, g.count) for g in model.generators] == [(4, 4), (8, 4), (16, 4), (32, 4)]
    assert [local.dense[0].kernel.shape[0] for local in model.local_encoders] == [4, 4, 8, 16]
    inputs = batch()
    scores = numpy(model(inputs))
    for episode in range(2):
        expected = expected_scores(model, inputs, episode)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(scores[episode, :, :3], expected, rtol=1e-2, atol=1e-3 * scale)


def film_oracle(
    model: CNAPS, inputs: dict[str, np.ndarray], episode: int
) -> tuple[np.ndarray, np.ndarray]:
    """Adapted features of one episode, stage by stage through the layers of the tiny backbone."""
    support = inputs["support_images"][episode]
    counted = inputs["support_labels"][episode] >= 0
    x = np.concatenate([support, inputs["query_images"][episode]])
    task = numpy(model.set_encoder(support[None], counts=counted[None]))
    parameters: dict[int, list[np.ndarray]] = {}
    for layer in model.backbone.layers[1:]:
        if "block" in layer.name:
            stage = ["first", "second"].index(layer.name.split("_")[0])
            place = int(layer.name[-1]) - 1
            if stage not in parameters:
                z = task
                if model.auto_regressive:
                    maps = x[: len(support)].mean(axis=(1, 2))[counted]
                    z = np.concatenate([numpy(model.local_encoders[stage](maps[None])), task], 1)
                parameters[stage] = [numpy(value)[0] for value in model.generators[stage](z)]
            gamma, beta = parameters[stage]
            x = gamma[place] * numpy(layer(x, training=False)) + beta[place]
        else:
            x = numpy(layer(x))
    return x[: len(support)], x[len(support) :]


@pytest.mark.parametrize("auto_regressive", [False, True])
def test_each_episode_adapts_the_backbone_by_itself(auto_regressive: bool) -> None:
    model = cnaps("mahalanobis", auto_regressive, seed=2)
    inputs = batch()
    arguments = [inputs[name] for name in ("support_images", "support_labels", "query_images")]
    support, queries = (numpy(x) for x in model.adapted_features(*arguments))
    plain = plain_features(model.backbone, inputs["query_images"])
    assert np.abs(queries - plain).max() > 0.1
    for episode in range(2):
        expected = film_oracle(model, inputs, episode)
        for actual, value in zip((support[episode], queries[episode]), expected):
            np.testing.assert_allclose(
                actual, value, rtol=1e-3, atol=1e-4 * max(np.abs(value).max(), 1.0)
            )


@pytest.mark.parametrize("head", HEADS)
def test_padding_and_the_order_of_the_support_set_do_not_count(head: str) -> None:
    model = cnaps(head, True, seed=2)
    inputs = batch()
    expected = numpy(model(inputs))
    other = dict(inputs)
    other["support_images"] = inputs["support_images"].copy()
    other["support_images"][1, -1] = 30.0
    for name in ("support_images", "support_labels"):
        other[name] = other[name][:, ::-1].copy()
    actual = numpy(model(other))
    np.testing.assert_allclose(
        actual[..., :3], expected[..., :3], rtol=1e-3, atol=1e-3 * np.abs(expected[..., :3]).max()
    )


@pytest.mark.parametrize(("head", "auto_regressive"), [("linear", True), ("mahalanobis", False)])
def test_it_learns_and_the_backbone_stays(
    head: str, auto_regressive: bool, tmp_path: pathlib.Path
) -> None:
    model = cnaps(head, auto_regressive)
    model.compile(keras.optimizers.Adam(0.01))
    before, whole = bits(model.backbone), bits(model)
    history = model.fit(Episodes(workers=1), epochs=6, shuffle=False, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    for path, value in bits(model.backbone).items():
        np.testing.assert_array_equal(value, before[path], err_msg=path)
    still = [path for path, value in bits(model).items() if np.array_equal(value, whole[path])]
    # Of two samples of a colour, one generator's ReLU may let nothing through; no more than that.
    assert not [path for path in still if path not in before and "residual" not in path]
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(numpy(loaded(batch())), numpy(model(batch())))
    assert len(loaded.trainable_variables) == len(model.trainable_variables)


def test_scales_are_decayed_through_the_loss() -> None:
    model = cnaps()
    inputs = batch()
    losses = []
    for value in (0.0, 1.0):
        for generator in model.generators:
            for kernel in (*generator.residual_kernels, generator.kernel):
                kernel.assign(ops.zeros(kernel.shape))
            generator.scale.assign(value * ops.ones(generator.scale.shape))
        scores = model(inputs)
        losses.append(float(numpy(model.compute_loss(inputs, None, scores))))
    # Generators of zeros modulate by nothing, so only the penalty of all 2 (4 + 4 + 5) differs.
    assert losses[1] - losses[0] == pytest.approx(0.001 * 26, rel=1e-3)


def test_configuration_holds_every_argument() -> None:
    check_config(CNAPS(tiny_backbone(), WAY, "mahalanobis", True, "first.*", 4, 1, 0.0))


def test_a_trained_model_is_evaluated_on_images() -> None:
    model = cnaps("mahalanobis")
    inputs = batch()
    names = np.array(["ant", "bee", "cat", "dog"])
    episodes = [
        (
            inputs["support_images"][:1],
            names[1:][LABELS[:1]],
            inputs["query_images"][:1],
            names[1:][QUERY_LABELS[:1]],
        )
    ]
    classifier = EpisodeClassifier(model)
    mean, half_width = evaluate_episodes(classifier, episodes)
    assert list(classifier.classes_) == ["bee", "cat", "dog"]
    first = {name: value[:1] for name, value in inputs.items()}
    right = numpy(model(first)).argmax(axis=-1) == QUERY_LABELS[:1]
    assert mean == pytest.approx(100 * right.mean())
    single = classifier.fit(inputs["support_images"][0], LABELS[0]).predict(
        inputs["query_images"][0]
    )
    np.testing.assert_array_equal(single == QUERY_LABELS[0], right[0])


def test_what_the_classifier_cannot_take_is_refused() -> None:
    classifier = EpisodeClassifier(cnaps("mahalanobis"))
    images = np.zeros((5, SIZE, SIZE, 3), "float32")
    with pytest.raises(RuntimeError, match="must be fitted first"):
        classifier.predict(images)
    with pytest.raises(ValueError, match="at most the model's way=4 classes. Received: 5"):
        classifier.fit(images, np.arange(5))
    with pytest.raises(ValueError, match=r"Received: labels of shape \(4,\)"):
        classifier.fit(images, np.arange(4))


def test_unfit_backbones_and_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="Received: head='cosine'"):
        CNAPS(tiny_backbone(), WAY, "cosine")
    with pytest.raises(ValueError, match="depends_on_domain=True"):
        CNAPS(ResNet26(["a"], normalization="domain", width=0.0625), WAY)
