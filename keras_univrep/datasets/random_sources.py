"""Sources of all kinds that need no file."""

import numpy as np

from keras_univrep.datasets.random_rooms import random_rooms
from keras_univrep.datasets.source import Source, SourceArrays
from keras_univrep.datasets.source_from_domain import source_from_domain

_SIZES = {"train": 8, "validation": 4, "test": 4}


def random_sources(image_size: int = 32, seed: int = 0) -> dict[str, dict[str, Source]]:
    """Makes a small source of each kind: bright boxes on dark noise, and rooms of noise.

    For tests and smoke runs, where no data set is at hand.

    Args:
        image_size: Side of the images, in pixels.
        seed: Of the random numbers.

    Returns:
        `{task: {name: Source}}` with the tasks "classification" (whether a box is there),
        "detection" (where it is), "segmentation" and "depth", and the splits "train", "validation"
        and "test" of 4 images or 8.

    Example:

    >>> from keras_univrep.datasets import random_sources
    >>> sources = random_sources()
    >>> [(task, *row) for task, row in sources.items()][:2]
    [('classification', 'boxes'), ('detection', 'boxes')]
    """
    rng = np.random.default_rng(seed)
    shape = (image_size, image_size, 3)
    detected: dict[str, SourceArrays] = {}
    classified: dict[str, SourceArrays] = {}
    for split, count in _SIZES.items():
        images = rng.integers(0, 64, (count, *shape)).astype("uint8")
        corners = rng.integers(0, image_size // 2, (count, 1, 2))
        boxes = np.concatenate([corners, corners + image_size // 3], axis=-1)
        there = np.arange(count) % 2
        for image, (left, top, right, bottom), bright in zip(images, boxes[:, 0], there):
            image[top:bottom, left:right] += np.uint8(128 * bright)
        classified[split] = images, there.astype("int32")
        labels = there[:, None].astype("int32") - 1
        detected[split] = images, {"boxes": boxes.astype("float32"), "labels": labels}
    rooms = random_rooms((image_size, image_size), seed)
    return {
        "classification": {
            "boxes": Source("boxes", "classification", ("none", "box"), shape, classified)
        },
        "detection": {
            "boxes": Source("boxes", "detection", ("box",), shape, detected, max_boxes=1)
        },
        "segmentation": {"rooms": source_from_domain(rooms, "segmentation")},
        "depth": {"rooms": source_from_domain(rooms, "depth")},
    }
