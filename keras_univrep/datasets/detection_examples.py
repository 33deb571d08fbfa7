"""Makes resized images and padded boxes of annotated images."""

import dataclasses
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from keras_univrep.datasets.boxes import pad_boxes, read_boxes
from keras_univrep.datasets.source_images import check_pixels, fit_image

Example = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class BoxRules:
    """How boxes become those of a source.

    Args:
        class_names: One name per class.
        image_size: (height, width) of the source, in pixels.
        max_boxes: Boxes of an image.
        resize: "square" or "pad".
        box_format: Format of the annotations.
    """

    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    max_boxes: int
    resize: str
    box_format: str


def detection_examples(
    annotated: Iterable[tuple[np.ndarray, Any, Any, str]], rules: BoxRules, where: str
) -> Iterator[Example]:
    """Resizes images with their boxes.

    Args:
        annotated: (pixels, boxes, labels, words that name the source and the image) of each image.
        rules: How boxes become those of the source.
        where: Words that name the source and the split.

    Returns:
        Iterator of {"images": (height, width, channels), "boxes": (max_boxes, 4),
        "labels": (max_boxes,)}. At its end a warning tells how many boxes were dropped.

    Raises:
        ValueError: If an image or its boxes do not fit.
    """
    outside, beyond, first = 0, 0, ""
    for pixels, boxes, labels, what in annotated:
        check_pixels(pixels, what)
        kept, numbers, dropped = read_boxes(
            boxes, labels, rules.box_format, pixels.shape[:2], len(rules.class_names), what
        )
        image, (x, y) = fit_image(pixels, rules.image_size, rules.resize)
        padded, own = pad_boxes(kept * (x, y, x, y), numbers, rules.max_boxes)
        # Rounding to float32 must not push a corner out of the image.
        limits = np.array([*rules.image_size[::-1]] * 2, "float32")
        if dropped or len(kept) > rules.max_boxes:
            first = first or what
        outside += dropped
        beyond += max(0, len(kept) - rules.max_boxes)
        yield {"images": image, "boxes": np.minimum(padded, limits), "labels": own}
    if first:
        warnings.warn(
            f"Boxes of {where} are left out, from {first} on: {outside} without an area within "
            f"their image, {beyond} smaller ones of images with more than {rules.max_boxes}. "
            "Correct the annotation, or pass a larger `max_boxes`.",
            stacklevel=2,
        )
