"""Makes a detection source of arrays."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_univrep.datasets.detection_examples import BoxRules, detection_examples
from keras_univrep.datasets.source import Source, SourceArrays
from keras_univrep.datasets.source_images import check_image_size


def detection_source(
    name: str,
    splits: Mapping[str, tuple[Sequence[Any], Sequence[Any], Sequence[Any]]],
    class_names: Sequence[str],
    image_size: int | tuple[int, int],
    box_format: str = "xyxy",
    max_boxes: int | None = None,
    resize: str = "square",
    **fields: Any,
) -> Source:
    """Makes a detection source of images of any size and their boxes.

    Boxes are clipped to their image; those without an area within it are dropped, with a warning.
    They are not refused: annotation files have such boxes from rounding and from cropping,
    and one of them must not cost the image. Boxes that end before they begin, or are not finite,
    are refused: they have another format, and clipping would hide it. An image without a box is a
    negative one and stays. Of more boxes than `max_boxes` the largest stay, with a warning.

    Args:
        name: Name of the source.
        splits: Dict of split to (images, boxes, labels): uint8 (height, width, channels) arrays,
            with the same 1 or 3 channels; (n, 4) arrays, n from 0; (n,) integers in
            [0, number of classes).
        class_names: One name per class, in the order of the labels.
        image_size: Side, or (height, width), to resize to, in pixels.
        box_format: "xyxy", "yxyx", "xywh" or "center_xywh", in pixels of the image, or "rel_xyxy",
            "rel_yxyx" or "rel_center_xywh".
        max_boxes: Boxes of an image to make place for; None for the most of any image.
        resize: "square" takes each side to its size, "pad" keeps the proportions and fills the
            right or the bottom with black.
        **fields: Further fields of `Source`: `flip`, `description`, `licence`, `source`,
            `citation`.

    Returns:
        A `Source` of the kind "detection".

    Raises:
        ValueError: If counts, shapes or values do not fit; the error names source and image.
        ImportError: If Pillow is not installed and an image must be resized.

    Example:

    >>> import numpy as np
    >>> from keras_univrep.datasets import detection_source
    >>> images = [np.zeros((10, 20, 3), "uint8"), np.zeros((8, 8, 3), "uint8")]
    >>> boxes = [[[5, 0, 10, 5]], []]
    >>> source = detection_source("toy", {"train": (images, boxes, [[0], []])}, ["cat"], 8)
    >>> source.arrays("train")[1]["boxes"].tolist(), source.arrays("train")[1]["labels"].tolist()
    ([[[2.0, 0.0, 4.0, 4.0]], [[0.0, 0.0, 0.0, 0.0]]], [[0], [-1]])

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual representation.
          ECCV 2022.
    """
    size = check_image_size(image_size, resize)
    for split, parts in splits.items():
        counts = [len(part) for part in parts]
        if len(counts) != 3 or len(set(counts)) != 1 or not counts[0]:
            raise ValueError(
                f"Split '{split}' of source '{name}' must hold images, boxes and labels, as many "
                f"of each and at least one. Received: {counts}. Pass an empty list for an image "
                "without boxes."
            )
    if max_boxes is None:
        max_boxes = max([1, *(len(one) for _, _, labels in splits.values() for one in labels)])
    rules = BoxRules(tuple(class_names), size, max_boxes, resize, box_format)
    arrays = {split: _arrays(name, split, parts, rules) for split, parts in splits.items()}
    channels = {split: images.shape[-1] for split, (images, _) in arrays.items()}
    if len(set(channels.values())) != 1:
        raise ValueError(
            f"Images of source '{name}' must have the same number of channels in every split. "
            f"Received: {channels}. Repeat a grey channel three times."
        )
    shape = (*size, next(iter(channels.values())))
    return Source(name, "detection", rules.class_names, shape, arrays, max_boxes, **fields)


def _arrays(
    name: str, split: str, parts: tuple[Sequence[Any], ...], rules: BoxRules
) -> SourceArrays:
    where = f"split '{split}' of source '{name}'"
    channels = np.shape(parts[0][0])[-1:]

    def annotated() -> Iterator[tuple[np.ndarray, Any, Any, str]]:
        for number, (image, boxes, labels) in enumerate(zip(*parts, strict=True)):
            what = f"Image {number} of {where}"
            pixels = np.asarray(image)
            if pixels.shape[-1:] != channels:
                raise ValueError(
                    f"{what} must have the channels of the first image, {channels}. Received: "
                    f"shape {pixels.shape}. Repeat a grey channel three times."
                )
            yield pixels, boxes, labels, what

    rows = list(detection_examples(annotated(), rules, where))
    images, boxes, labels = (np.stack([row[key] for row in rows]) for key in rows[0])
    return images, {"boxes": boxes, "labels": labels}
