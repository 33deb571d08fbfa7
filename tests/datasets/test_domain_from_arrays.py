"""`domain_from_arrays` converts, measures and checks."""

import numpy as np
import pytest

from keras_univrep.datasets import domain_from_arrays

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 8, 6, 3)).astype("uint8")
LABELS = np.arange(12) % 3


def test_mean_and_deviation_are_those_of_the_training_images() -> None:
    test = (RNG.integers(0, 50, (4, 8, 6, 3)).astype("uint8"), np.zeros(4, int))
    domain = domain_from_arrays("toy", (IMAGES, LABELS), test=test)
    pixels = IMAGES.reshape(-1, 3) / 255
    np.testing.assert_allclose(domain.mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(domain.std, pixels.std(0), rtol=1e-10)


def test_floats_in_the_unit_interval_become_the_same_domain() -> None:
    one = domain_from_arrays("toy", (IMAGES, LABELS))
    other = domain_from_arrays("toy", (IMAGES.astype("float32") / 255, LABELS.astype("uint8")))
    np.testing.assert_array_equal(one.arrays("train")[0], other.arrays("train")[0])
    np.testing.assert_array_equal(one.arrays("train")[1], other.arrays("train")[1])
    assert one.mean == other.mean


def test_classes_are_counted_over_all_splits() -> None:
    domain = domain_from_arrays("toy", (IMAGES, LABELS), validation=(IMAGES[:1], [5]))
    assert domain.num_classes == 6 and domain.class_names == tuple("012345")
    assert sorted(domain.splits) == ["train", "validation"]


def test_images_of_one_colour_get_deviation_one() -> None:
    domain = domain_from_arrays("toy", (np.full((2, 4, 4, 1), 255, "uint8"), [0, 1]))
    assert domain.mean == (1.0,) and domain.std == (1.0,)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES * 1.0, LABELS, r"floats in \[0, 1\]. Received: float64 from"),
        (IMAGES.astype("int32") - 300, LABELS, "Undo their normalisation"),
        (np.where(IMAGES > 250, np.nan, 0.5), LABELS, "NaN or infinity in image 0"),
        (IMAGES.transpose(0, 3, 1, 2), LABELS, "channels last"),
        (IMAGES, LABELS[1:], "one per image"),
        (IMAGES, LABELS + 1, r"in \[0, 3\)"),
    ],
)
def test_names_the_wrong_value(images: np.ndarray, labels: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        domain_from_arrays("toy", (images, labels), num_classes=3)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (IMAGES, LABELS * 1.0, "argmax"),
        (IMAGES.astype(str), LABELS, "Decode the images"),
    ],
)
def test_names_the_wrong_type(images: np.ndarray, labels: np.ndarray, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        domain_from_arrays("toy", (images, labels))


def test_asks_for_a_pair() -> None:
    with pytest.raises(TypeError, match="pair"):
        domain_from_arrays("toy", IMAGES)  # type: ignore[arg-type]
