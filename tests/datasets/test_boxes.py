"""Boxes are converted as Keras converts them, clipped and padded."""

import keras
import numpy as np
import pytest

from keras_univrep.datasets.boxes import BOX_FORMATS, clip_boxes, pad_boxes, read_boxes, to_xyxy

BOXES = np.array([[1.0, 2.0, 5.0, 9.0], [0.0, 0.0, 20.0, 10.0]])


@pytest.mark.parametrize("box_format", BOX_FORMATS)
def test_formats_are_those_of_keras(box_format: str) -> None:
    other = keras.utils.bounding_boxes.convert_format(
        BOXES.astype("float32"), "xyxy", box_format, height=10, width=20
    )
    back = to_xyxy(keras.ops.convert_to_numpy(other), box_format, 10, 20)
    np.testing.assert_allclose(back, BOXES, atol=1e-5)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="`box_format` must be one of"):
        to_xyxy(BOXES, "xxyy", 10, 20)


def test_what_leaves_the_image_is_cut_and_what_is_outside_is_dropped() -> None:
    boxes = np.array([[-3.0, 2, 4, 30], [25, 0, 30, 5], [4, 4, 4, 8], [1, 1, 2, 2]])
    clipped, labels = clip_boxes(boxes, np.arange(4), 10, 20)
    np.testing.assert_array_equal(clipped, [[0, 2, 4, 10], [1, 1, 2, 2]])
    assert labels.tolist() == [0, 3]
    # Of the first 7 x 28 pixels 4 x 8 are left: 0.163.
    assert clip_boxes(boxes, np.arange(4), 10, 20, least=0.16)[1].tolist() == [0, 3]
    assert clip_boxes(boxes, np.arange(4), 10, 20, least=0.17)[1].tolist() == [3]


def test_of_more_boxes_the_largest_stay_in_their_order() -> None:
    boxes = np.array([[0.0, 0, 3, 3], [0, 0, 1, 1], [0, 0, 9, 9], [0, 0, 2, 2]])
    padded, labels = pad_boxes(boxes, np.arange(4), 2)
    np.testing.assert_array_equal(padded, boxes[[0, 2]])
    assert labels.tolist() == [0, 2] and padded.dtype == np.float32 and labels.dtype == np.int32
    padded, labels = pad_boxes(boxes[:0], np.arange(0), 2)
    assert not padded.any() and labels.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("boxes", "labels", "message"),
    [
        ([[5, 0, 1, 3]], [0], "end after they begin.*Received: \\[5.0, 0.0, 1.0, 3.0\\]"),
        ([[0, 0, np.nan, 3]], [0], "finite boxes"),
        ([[0, 0, 2, 3]], [2], r"integers in \[0, 2\).*Received: \[2\]"),
        ([[0, 0, 2, 3]], [0.5], "labels that are integers"),
        ([[0, 0, 2, 3]], [0, 1], "one label for each box"),
        ([[0, 0, 2]], [0], "one label for each box of 4 numbers"),
    ],
)
def test_wrong_annotations_are_refused_by_name(
    boxes: list[list[float]], labels: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=f"(?s)^Image 3 of 'toy' must have .*{message}"):
        read_boxes(boxes, labels, "xyxy", (10, 20), 2, "Image 3 of 'toy'")


def test_an_image_without_boxes_is_legal() -> None:
    for none in ([], np.zeros((0, 4)), [[]]):
        boxes, labels, dropped = read_boxes(none, [], "xyxy", (10, 20), 2, "Image 3")
        assert boxes.shape == (0, 4) and labels.shape == (0,) and dropped == 0
