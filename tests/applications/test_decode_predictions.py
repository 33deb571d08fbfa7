import numpy as np
import pytest

from keras_univrep.applications import decode_predictions, list_weights

NAMES = list_weights()["five_domains"].domain("letters").class_names


def test_the_likeliest_classes_come_first_with_their_probabilities():
    logits = np.zeros((2, 26))
    logits[0, 3], logits[0, 5], logits[1, 25] = 2.0, 1.0, 3.0
    first, second = decode_predictions(logits, "demo", "letters", top=2)
    total = np.exp(2.0) + np.exp(1.0) + 24.0
    assert [(i, name) for i, name, _ in first] == [(3, NAMES[3]), (5, NAMES[5])]
    assert first[0][2] == pytest.approx(np.exp(2.0) / total)
    assert first[1][2] == pytest.approx(np.exp(1.0) / total)
    assert second[0][:2] == (25, NAMES[25])


def test_probabilities_are_taken_as_they_are():
    found = decode_predictions(np.eye(26)[:1] * 0.4, "demo", "letters", 1, from_logits=False)
    assert found == [[(0, NAMES[0], pytest.approx(0.4))]]


def test_more_than_all_classes_are_all_classes():
    assert len(decode_predictions(np.zeros((1, 26)), "demo", "letters", top=99)[0]) == 26


@pytest.mark.parametrize("shape", [(26,), (1, 25)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="must have shape"):
        decode_predictions(np.zeros(shape), "demo", "letters")
