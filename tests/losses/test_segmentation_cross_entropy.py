"""The cross-entropy of pixels against its golden number and its limits."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from keras_univrep.losses import SegmentationCrossEntropy
from tests.golden_dense import golden_labels
from tests.losses.oracles import student_gradient

LABELS, LOG_P = golden_labels()


def test_value_is_the_golden_one() -> None:
    assert float(SegmentationCrossEntropy()(LABELS, LOG_P)) == pytest.approx(1.819113188, abs=1e-6)


def test_shift_of_the_logits_does_not_matter() -> None:
    shifted = LOG_P + np.linspace(-1e3, 1e3, 24).reshape(4, 6, 1)
    assert float(SegmentationCrossEntropy()(LABELS, shifted)) == pytest.approx(1.819113, abs=1e-4)


def test_probabilities_give_the_same_value_and_are_kept_above_zero() -> None:
    loss = SegmentationCrossEntropy(from_logits=False)
    assert float(loss(LABELS, np.exp(LOG_P))) == pytest.approx(1.819113188, abs=1e-6)
    none = np.array([[[[0.0, 1.0]]]])
    assert float(loss(np.array([[[0]]]), none)) == pytest.approx(-np.log(1e-7), rel=1e-5)


def test_certain_and_right_has_no_loss() -> None:
    logits = 1e4 * np.eye(5)[np.maximum(LABELS, 0)]
    assert float(SegmentationCrossEntropy()(LABELS, logits)) == 0.0


def test_impossible_class_leaves_loss_and_gradient_finite() -> None:
    logits = np.array([[[[0.0, 0.0, -np.inf]]]])
    loss, label = SegmentationCrossEntropy(), np.array([[[0]]])
    assert float(loss(label, logits)) == pytest.approx(np.log(2.0))
    np.testing.assert_allclose(
        student_gradient(loss, label, logits), [[[[-0.5, 0.5, 0.0]]]], atol=1e-6
    )


def test_any_label_can_be_the_ignored_one() -> None:
    labels = np.where(LABELS == -1, 255, LABELS).astype("uint8")
    value = float(SegmentationCrossEntropy(ignore_label=255)(labels, LOG_P))
    assert value == pytest.approx(1.819113188, abs=1e-6)


def test_without_an_ignored_label_all_pixels_count() -> None:
    labels = np.maximum(LABELS, 0)
    expected = -np.mean(np.take_along_axis(LOG_P, labels[..., None], axis=-1))
    value = float(SegmentationCrossEntropy(ignore_label=None)(labels, LOG_P))
    assert value == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("wrong", [5, -2, 255])
def test_label_outside_the_classes_shows_as_nan(wrong: int) -> None:
    labels = LABELS.copy()
    labels[0, 0, 0] = wrong
    assert np.isnan(float(SegmentationCrossEntropy()(labels, LOG_P)))
    assert np.isnan(float(SegmentationCrossEntropy(ignore_label=None)(LABELS, LOG_P)))


def test_ignored_label_that_is_no_integer_is_refused() -> None:
    with pytest.raises(TypeError, match="ignore_label=0.5"):
        SegmentationCrossEntropy(ignore_label=0.5)  # type: ignore[arg-type]


def test_configuration_holds_every_argument() -> None:
    loss = SegmentationCrossEntropy(ignore_label=None, from_logits=False, dtype="float64")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.get_config() == loss.get_config()
    assert (copy.ignore_label, copy.from_logits, copy.dtype) == (None, False, "float64")
