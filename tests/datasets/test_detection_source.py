"""`detection_source` resizes images with their boxes, and says what it leaves out."""

import warnings
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import Source, detection_source
from tests.datasets.source_sets import pixels


def make(images: list[Any], boxes: list[Any], labels: list[Any], **options: Any) -> Source:
    splits = {"train": (images, boxes, labels)}
    return detection_source("toy", splits, ["a", "b"], **({"image_size": (16, 32)} | options))


def painted(height: int, width: int, box: list[int]) -> np.ndarray:
    """A black image with a white rectangle."""
    image = np.zeros((height, width, 3), "uint8")
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image


@pytest.mark.parametrize("resize", ["square", "pad"])
def test_boxes_lie_where_things_lie_after_resizing(resize: str) -> None:
    places = [[8, 4, 24, 36], [40, 8, 56, 24]]
    images = [painted(40, 80, places[0]), painted(48, 64, places[1])]
    source = make(images, [[p] for p in places], [[0], [1]], resize=resize)
    found, targets = source.arrays("train")
    assert found.shape == (2, 16, 32, 3) and targets["boxes"].shape == (2, 1, 4)
    for image, box in zip(found, targets["boxes"][:, 0], strict=True):
        rows, columns = np.nonzero(image[..., 0] > 127)
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(box, seen, atol=0.75)
    if resize == "pad":
        # 48 x 64 pixels become 16 x 21, and the rest is black.
        assert not found[1, :, 21:].any()
        np.testing.assert_allclose(targets["boxes"][1, 0], np.array(places[1]) / 3, rtol=0.02)
    else:
        np.testing.assert_allclose(targets["boxes"][1, 0], [20, 8 / 3, 28, 8], rtol=1e-6)


def test_boxes_outside_are_dropped_with_a_warning_and_the_image_stays() -> None:
    images = [pixels(16, 32)] * 3
    boxes = [[[-4, -4, 40, 40]], [[32, 0, 40, 8], [1, 1, 1, 5]], []]
    message = "from Image 1 of split 'train' of source 'toy' on: 2 without an area"
    with pytest.warns(UserWarning, match=message):
        source = make(images, boxes, [[1], [0, 0], []])
    targets = source.arrays("train")[1]
    assert targets["labels"].tolist() == [[1, -1], [-1, -1], [-1, -1]]
    assert targets["boxes"][0, 0].tolist() == [0, 0, 32, 16] and source.size("train") == 3


def test_smaller_boxes_beyond_the_count_are_dropped_with_a_warning() -> None:
    boxes = [[[0, 0, 2, 2], [0, 0, 8, 8]]]
    with pytest.warns(UserWarning, match="1 smaller ones of images with more than 1"):
        source = make([pixels(16, 32)], boxes, [[0, 1]], max_boxes=1)
    assert source.arrays("train")[1]["labels"].tolist() == [[1]]


def test_a_clean_annotation_gives_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = make([pixels(16, 32)], [[[0.5, 0.5, 1.0, 1.0]]], [[1]], box_format="rel_xyxy")
    assert source.arrays("train")[1]["boxes"].tolist() == [[[16, 8, 32, 16]]]


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 8, 3), "uint8"), "sides of at least one pixel"),
        (np.zeros((8, 8, 4), "uint8"), "must have the channels of the first image"),
        (np.zeros((8, 8, 1), "uint8"), "must have the channels of the first image"),
        (np.zeros((8, 8, 3)), "must be uint8"),
    ],
)
def test_wrong_images_are_refused_by_name(image: np.ndarray, message: str) -> None:
    with pytest.raises(
        ValueError,
        match=f"^Image 1 of split 'train' of source 'toy' {message}|"
        f"^Image 1 of split 'train' of source 'toy' must have {message}",
    ):
        make([pixels(8, 8), image], [[], []], [[], []])


def test_grey_images_stay_grey() -> None:
    images = np.zeros((2, 8, 8, 1), "uint8")
    assert make(list(images), [[], []], [[], []]).image_shape == (16, 32, 1)
    splits = {"train": (images, [[], []], [[], []]), "test": ([pixels(8, 8)], [[]], [[]])}
    with pytest.raises(ValueError, match="same number of channels in every split"):
        detection_source("toy", splits, ["a"], 8)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"as many of each.*Received: \[1, 0, 1\]"):
        make([pixels(8, 8)], [], [[]])
    with pytest.raises(ValueError, match="`resize` must be one of"):
        make([pixels(8, 8)], [[]], [[]], resize="crop")
    with pytest.raises(ValueError, match="`image_size` must be a side"):
        make([pixels(8, 8)], [[]], [[]], image_size=4)
