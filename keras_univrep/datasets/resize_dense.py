"""A dense domain at another size."""

import dataclasses
import functools

import numpy as np

from keras_univrep.datasets.dense_domain import DenseArrays, DenseDomain
from keras_univrep.datasets.lazy_splits import LazySplits
from keras_univrep.datasets.pillow_loader import load_pillow


def resize_dense(domain: DenseDomain, image_size: tuple[int, int]) -> DenseDomain:
    """Scales all images and maps of a dense domain.

    Images are scaled bilinearly, with as wide a filter as the reduction needs; of maps the pixel
    under the centre of the new one is taken, so that no class, depth or normal is invented.

    Args:
        domain: The `DenseDomain`.
        image_size: (height, width) in pixels.

    Returns:
        A `DenseDomain` of the same name, whose images are scaled when they are first asked for.

    Raises:
        ValueError: If a side is not at least 1.
        ImportError: If Pillow is not installed.

    Example:

    >>> domain = DenseDomain(
    ...     name="toy", tasks={"depth": "depth"}, class_names={}, image_shape=(8, 8, 3),
    ...     splits={"train": (np.zeros((2, 8, 8, 3), "uint8"), {"depth": np.ones((2, 8, 8, 1))})},
    ... )
    >>> resize_dense(domain, (4, 6)).arrays("train")[1]["depth"].shape
    (2, 4, 6, 1)
    """
    height, width = (int(side) for side in image_size)
    if min(height, width) < 1:
        raise ValueError(
            "`image_size` must be (height, width), at least 1 each. "
            f"Received: image_size={image_size}. Pass, for example, (96, 128)."
        )
    load_pillow("`resize_dense`")
    readers = {
        split: functools.partial(_resized, domain, split, (height, width))
        for split in domain.splits
    }
    return dataclasses.replace(
        domain,
        image_shape=(height, width, domain.image_shape[-1]),
        splits=LazySplits(readers),
    )


def _resized(domain: DenseDomain, split: str, size: tuple[int, int]) -> DenseArrays:
    pillow = load_pillow("`resize_dense`")
    images, targets = domain.arrays(split)
    scaled = np.empty((len(images), *size, images.shape[-1]), "uint8")
    for number, image in enumerate(images):
        for channel in range(images.shape[-1]):
            plane = pillow.Image.fromarray(np.ascontiguousarray(image[..., channel]))
            scaled[number, ..., channel] = plane.resize(size[::-1], pillow.Image.BILINEAR)
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype("int64")
        for new, old in zip(size, images.shape[1:3], strict=True)
    )
    maps = {task: values[:, rows[:, None], columns] for task, values in targets.items()}
    return scaled, maps
