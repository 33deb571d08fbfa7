"""Images of one size in place of a pool's, without copies in two splits."""

import hashlib

import numpy as np

from keras_univrep.datasets.decathlon_sources import Pool
from keras_univrep.datasets.resize_image import resize_image

SPLITS = ("train", "validation", "test")


def resize_pool(pool: Pool, size: int, resize: str = "square") -> dict[str, np.ndarray]:
    """Resizes the images of each split, and drops one whose exact copy is in a later split.

    Args:
        pool: The images and their division.
        size: Side of the resized images, in pixels.
        resize: As for `resize_image`.

    Returns:
        Dict of "x_SPLIT" to uint8 images (n, size, size) or (n, size, size, 3) and of "y_SPLIT"
        to int32 labels (n,), for the splits that the pool has.
    """
    arrays = {}
    later: set[bytes] = set()
    for split in reversed([split for split in SPLITS if split in pool.splits]):
        images, labels, digests = [], [], set()
        for position in pool.splits[split]:
            pixels = pool.images[position]
            digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
            digests.add(digest)
            if digest not in later:
                images.append(resize_image(pixels, size, resize))
                labels.append(pool.labels[position])
        arrays[f"x_{split}"], arrays[f"y_{split}"] = np.stack(images), np.array(labels, "int32")
        later |= digests
    return arrays
