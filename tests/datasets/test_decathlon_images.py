"""`DecathlonImages` offers what pipelines and evaluation ask of a domain."""

from typing import Any

import keras
import numpy as np
import pytest

from keras_univrep.datasets import (
    DecathlonImages,
    decathlon_pipeline,
    domain_from_arrays,
    multi_domain_pipeline,
    visual_decathlon,
)
from keras_univrep.evaluation import decathlon_predictions, domain_accuracy
from tests.datasets.test_decathlon_pipeline import holding

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (72, 75, 3)).astype("uint8") for _ in range(5)]
LABELS = [3, 0, 1, 2, 3]


class Brightest(keras.Model):
    """Predicts the remainder of the sum of an image; knows every domain."""

    def for_domain(self, name: str) -> "Brightest":
        return self

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        return np.eye(4)[np.abs(images).sum(axis=(1, 2, 3)).astype("int64") % 4]


def test_what_is_known_of_a_domain_is_the_official() -> None:
    for preset in ("rebuffi2018", "li2022"):
        for name, facts in visual_decathlon(preset).items():
            domain = DecathlonImages(name, preset)
            assert (domain.name, domain.num_classes) == (name, facts.num_classes)
            assert (domain.mean, domain.std) == (facts.mean, facts.std)
            assert domain.image_shape == facts.image_shape
            assert len(domain.class_names) == facts.num_classes
            assert DecathlonImages(name, preset, side=72).image_shape == (72, 72, 3)
    with pytest.raises(ValueError, match="`name` must be a domain of the Visual Decathlon"):
        DecathlonImages("birds")


def test_crops_are_enlarged_to_one_side() -> None:
    import tensorflow as tf

    with holding(IMAGES):
        (small, _), (large, labels) = (
            next(decathlon_pipeline("dtd", "train", 5, side=side).as_numpy_iterator())
            for side in (None, 72)
        )
        whole, _ = next(decathlon_pipeline("gtsrb", "train", 5, side=72).as_numpy_iterator())
        same, _ = next(decathlon_pipeline("gtsrb", "train", 5).as_numpy_iterator())
    assert large.shape == (5, 72, 72, 3) and labels.tolist() == list(range(5))
    np.testing.assert_allclose(large, tf.image.resize(small, (72, 72)), atol=1e-6)
    # 9 pixels for 8: the corner of the crop stays, the centre is between two pixels.
    np.testing.assert_allclose(large[:, 0, 0], small[:, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(whole, same)
    for side in (63, 71.5):
        with pytest.raises(ValueError, match="`side` must be None or an integer of at least 64"):
            decathlon_pipeline("dtd", "train", 5, side=side)


def test_training_batches_of_several_domains_are_joined() -> None:
    toy = domain_from_arrays(
        "toy", (RNG.integers(0, 256, (6, 64, 64, 3)).astype("uint8"), np.arange(6) % 2)
    )
    domains: dict[str, Any] = {"dtd": DecathlonImages("dtd"), "toy": toy}
    sizes = {"dtd": 3, "toy": 2}
    with holding(IMAGES, LABELS):
        assert domains["dtd"].size("train") == 5
        batches = multi_domain_pipeline(domains, "train", sizes, True, seed=4, first_step=1)
        images, labels = next(batches.as_numpy_iterator())
        alone = domains["dtd"].batches("train", 3, True, seed=4, first_step=1)
        expected = next(alone.as_numpy_iterator())
        for arguments in ({"training": False}, {"augmentation": None}, {"padding": 4}):
            given: dict[str, Any] = {"training": True, **arguments}
            with pytest.raises(ValueError, match="must be trained on, augmented as their preset"):
                multi_domain_pipeline(domains, "train", sizes, **given)
    assert {name: batch.shape for name, batch in images.items()} == {
        "dtd": (3, 64, 64, 3),
        "toy": (2, 64, 64, 3),
    }
    np.testing.assert_array_equal(images["dtd"], expected[0])
    np.testing.assert_array_equal(labels["dtd"], expected[1])
    only_toy = multi_domain_pipeline({"toy": toy}, "train", 2, True, seed=4, first_step=1)
    np.testing.assert_array_equal(images["toy"], next(only_toy.as_numpy_iterator())[0]["toy"])


@pytest.mark.parametrize("batch_size", [2, 100])
def test_accuracy_and_predictions_are_those_of_the_images(batch_size: int) -> None:
    domains, model = {"dtd": DecathlonImages("dtd")}, Brightest()
    with holding(IMAGES, LABELS):
        images, _ = next(domains["dtd"].batches("validation", 5).as_numpy_iterator())
        accuracy = domain_accuracy(model, domains, "validation", batch_size)
        names, labels = decathlon_predictions(model, domains, batch_size=batch_size)["dtd"]
    expected = model.predict_on_batch(images).argmax(-1)
    assert accuracy == {"dtd": pytest.approx(100 * np.mean(expected == LABELS))}
    np.testing.assert_array_equal(labels, expected)
    assert names == [f"dtd/test/{i:06d}.jpg".encode() for i in range(1, 6)]


def test_secret_labels_are_named() -> None:
    with (
        holding(IMAGES, [-1] * 5),
        pytest.raises(ValueError, match="whose labels are secret.*write_decathlon_submission"),
    ):
        domain_accuracy(Brightest(), {"dtd": DecathlonImages("dtd")}, "test")
