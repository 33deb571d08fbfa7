"""Boxes follow the image through `boxes_augment`."""

import numpy as np
import pytest

from keras_univrep.datasets import boxes_augment, dense_augment

HEIGHT, WIDTH = 48, 60
BOXES = np.array([[6, 10, 30, 28], [36, 4, 54, 44], [0, 0, 0, 0]], "float32")
LABELS = np.array([0, 1, -1], "int32")


def painted() -> tuple[np.ndarray, np.ndarray]:
    """An image with the boxes painted, and the map of their numbers."""
    image, places = np.zeros((HEIGHT, WIDTH, 3), "uint8"), np.full((HEIGHT, WIDTH), -1, "int32")
    for label, (left, top, right, bottom) in zip(LABELS[:2], BOXES[:2].astype(int), strict=True):
        image[top:bottom, left:right, label] = 255
        places[top:bottom, left:right] = label
    return image, places


@pytest.mark.parametrize("augmentation", [None, "flip", "scale_crop", "scale_crop_flip"])
def test_boxes_lie_where_the_things_of_the_image_and_of_its_map_lie(
    augmentation: str | None,
) -> None:
    image, places = painted()
    changed = 0
    for seed in range(30):
        values, boxes, labels = boxes_augment(
            image, BOXES, LABELS, np.random.default_rng(seed), augmentation, min_visible=0
        )
        rng = np.random.default_rng(seed)
        same, maps = dense_augment(image, {"s": places}, {"s": "segmentation"}, rng, augmentation)
        np.testing.assert_array_equal(values, same)
        assert boxes.shape == (3, 4) and boxes.dtype == np.float32 and labels.dtype == np.int32
        for box, label in zip(boxes, labels, strict=True):
            if label < 0:
                assert not box.any()
                continue
            for seen in (maps["s"] == label, values[..., label] > 0.5):
                rows, columns = np.nonzero(seen)
                extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                np.testing.assert_allclose(box, extent, atol=1.6)
        changed += not np.array_equal(boxes, BOXES)
    assert (changed > 0) == (augmentation is not None)


def test_boxes_of_which_little_is_left_leave() -> None:
    image, _ = painted()
    # A narrow box at the left edge: crops of 1 / 1.5 cut all, a part or nothing of it.
    boxes = np.array([[0, 0, 12, HEIGHT]], "float32")
    labels = np.array([4], "int32")
    kept = {}
    for share in (0.0, 0.25, 0.6):
        kept[share] = []
        for seed in range(60):
            rng = np.random.default_rng(seed)
            _, found, own = boxes_augment(
                image, boxes, labels, rng, "scale_crop", [1.5], min_visible=share
            )
            kept[share].append(int(own[0] == 4))
            draws = np.random.default_rng(seed).random(4)
            left = int(draws[2] * (WIDTH - 40 + 1))
            visible = max(0, 12 - left) * 32 / (12 * HEIGHT)
            assert kept[share][-1] == (visible > 0 and visible >= share)
            if own[0] == 4:
                np.testing.assert_allclose(found[0], [0, 0, (12 - left) * 1.5, HEIGHT])
    assert sum(kept[0.0]) > sum(kept[0.25]) > sum(kept[0.6]) > 0


def test_wrong_shares_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`min_visible` must be in \[0, 1\)"):
        boxes_augment(painted()[0], BOXES, LABELS, np.random.default_rng(0), min_visible=1.0)
    with pytest.raises(ValueError, match="`augmentation` must be one of"):
        boxes_augment(painted()[0], BOXES, LABELS, np.random.default_rng(0), "crop")
