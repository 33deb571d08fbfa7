"""Dense images of nothing, to see that a training runs."""

import numpy as np

from keras_univrep.datasets.dense_domain import DenseArrays, DenseDomain


def random_rooms(image_size: tuple[int, int] = (32, 32), seed: int = 0) -> DenseDomain:
    """Makes noise with random labels and depths, and normals that face the camera.

    For tests and smoke runs, where no data set is at hand: there is nothing to learn but the
    normals.

    Args:
        image_size: (height, width) in pixels.
        seed: Of the random numbers.

    Returns:
        A `DenseDomain` named "rooms", with four images to train, two for validation and two to
        test; tasks "segmentation" (3 classes), "depth" (1 to 5 metres) and "normals".

    Example:

    >>> rooms = random_rooms()
    >>> rooms.size("train"), rooms.channels
    (4, {'segmentation': 3, 'depth': 1, 'normals': 3})
    """
    rng = np.random.default_rng(seed)

    def rooms(count: int) -> DenseArrays:
        shape = (count, *image_size)
        normals = np.zeros((*shape, 3), "float32")
        normals[..., 2] = -1.0
        return rng.integers(0, 256, (*shape, 3)).astype("uint8"), {
            "segmentation": rng.integers(-1, 3, shape).astype("int8"),
            "depth": rng.uniform(1.0, 5.0, (*shape, 1)).astype("float32"),
            "normals": normals,
        }

    tasks = ("segmentation", "depth", "normals")
    return DenseDomain(
        name="rooms",
        tasks=dict(zip(tasks, tasks, strict=True)),
        class_names={"segmentation": ("wall", "floor", "other")},
        image_shape=(*image_size, 3),
        splits={"train": rooms(4), "validation": rooms(2), "test": rooms(2)},
        source="random numbers",
    )
