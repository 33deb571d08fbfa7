"""Where in an image each of several networks looks."""

import pathlib
from collections.abc import Mapping

import numpy as np

from keras_univrep.plotting.figure import new_figure, save_figure


def plot_attention_maps(
    path: str | pathlib.Path, images: np.ndarray, maps: Mapping[str, np.ndarray]
) -> pathlib.Path:
    """Draws images, and beside each the attention of every network as a heat map over it.

    As shu2021, figure 11: one row an image, one column a network. The colours of a map go from its
    own least value (blue) to its largest (red), so that they say where a network looks and not how
    strongly.

    Args:
        path: The PNG file.
        images: (images, height, width, 3), uint8 or floats in [0, 1].
        maps: For each network, attention (images, h, w) of any resolution, as `spatial_attention`
            gives it.

    Returns:
        The path.

    Raises:
        ValueError: If there is no image or network, maps and images do not belong together, or a
            value is not finite.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import os, tempfile
        >>> from keras_univrep.plotting import plot_attention_maps
        >>> images, rng = np.zeros((2, 32, 32, 3)), np.random.default_rng(0)
        >>> maps = {"pre-training": rng.random((2, 4, 4)), "meta-training": rng.random((2, 8, 8))}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_attention_maps(os.path.join(folder, "maps.png"), images, maps).name
        'maps.png'
    """
    images = np.asarray(images)
    arrays = {name: np.asarray(values) for name, values in maps.items()}
    if (
        images.ndim != 4
        or not len(images)
        or not arrays
        or any(found.ndim != 3 or len(found) != len(images) for found in arrays.values())
        or not all(np.isfinite(found).all() for found in arrays.values())
    ):
        shapes = {name: found.shape for name, found in arrays.items()}
        raise ValueError(
            "There must be images (images, height, width, 3), and for each network finite maps "
            f"(images, h, w) of them. Received: images of shape {images.shape}, maps of shapes "
            f"{shapes}. Give one map of each image."
        )
    height, width = images.shape[1:3]
    figure = new_figure(1.3 * (1 + len(arrays)), 1.3 * height / width * len(images) + 0.4)
    axes = figure.subplots(len(images), 1 + len(arrays), squeeze=False)
    for number, row in enumerate(axes):
        for axis, name in zip(row, ["image", *arrays], strict=True):
            axis.imshow(images[number], interpolation="nearest")
            if name in arrays:
                axis.imshow(
                    arrays[name][number],
                    cmap="jet",
                    alpha=0.5,
                    interpolation="bilinear",
                    extent=(-0.5, width - 0.5, height - 0.5, -0.5),
                )
            axis.set_title(name if number == 0 else "", fontsize=8)
            axis.set_xticks([])
            axis.set_yticks([])
    return save_figure(figure, path)
