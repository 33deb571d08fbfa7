"""Nearest neighbours of an image in each domain."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_univrep.plotting.figure import new_figure, save_figure


def plot_neighbours(
    path: str | pathlib.Path,
    images: Mapping[str, np.ndarray],
    features: Mapping[str, np.ndarray],
    queries: Sequence[tuple[str, int]],
    neighbours: int = 3,
) -> pathlib.Path:
    """Draws, for each query image, the images of every domain nearest to it in feature space.

    One row a query: the query in its frame, then the `neighbours` nearest of each domain by cosine
    similarity, itself left out.

    Args:
        path: The PNG file.
        images: Images of each domain, uint8, (images, height, width, 3).
        features: Universal features of the same images, (images, channels).
        queries: Pairs of domain and index.
        neighbours: How many of each domain.

    Returns:
        The path.

    Raises:
        ValueError: If images and features do not belong together.
        ImportError: If matplotlib is not installed.
    """
    for name in images:
        if name not in features or len(images[name]) != len(features[name]):
            raise ValueError(
                f"Each domain must have one feature for each image. Received for {name!r}: "
                f"{len(images[name])} images and {len(features.get(name, ()))} features."
            )
    unit = {
        name: value / np.maximum(np.linalg.norm(value, axis=1, keepdims=True), 1e-12)
        for name, value in features.items()
    }
    columns = 1 + len(images) * neighbours
    figure = new_figure(0.9 * columns, 1.05 * len(queries) + 0.5)
    axes = figure.subplots(len(queries), columns, squeeze=False)
    for number, (domain, index) in enumerate(queries):
        row = axes[number]
        _draw(row[0], images[domain][index], f"query: {domain}", framed=True)
        column = 1
        for name in images:
            order = np.argsort(-(unit[name] @ unit[domain][index]), kind="stable")
            if name == domain:
                order = order[order != index]
            for rank in range(neighbours):
                title = name if rank == neighbours // 2 and number == 0 else ""
                _draw(row[column], images[name][order[rank]], title)
                column += 1
    return save_figure(figure, path)


def _draw(axis: Any, image: np.ndarray, title: str, framed: bool = False) -> None:
    axis.imshow(image)
    axis.set_title(title, fontsize=8)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(framed)
        spine.set_color("tab:red")
        spine.set_linewidth(2)
