"""How much of each channel modulators take in each task."""

import pathlib
from collections.abc import Sequence

import numpy as np

from keras_univrep.plotting.figure import new_figure, save_figure


def plot_attention(
    path: str | pathlib.Path, blocks: Sequence[np.ndarray], title: str
) -> pathlib.Path:
    """Draws the attention weights of each block of a network, one row a task.

    As lekkala2020, figure 3: below zero a channel is amplified, above zero it is damped.

    Args:
        path: The PNG file.
        blocks: For each block, weights (tasks, channels).
        title: Of the picture.

    Returns:
        The path.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = new_figure(2.2 * len(blocks) + 1.0, 3.6)
    axes = np.atleast_1d(figure.subplots(1, len(blocks), sharey=True))
    top = max([1e-6, *(float(np.abs(block).max()) for block in blocks)])
    for number, (axis, block) in enumerate(zip(axes, blocks, strict=True), start=1):
        mappable = axis.imshow(block, vmin=-top, vmax=top, cmap="RdBu", aspect="auto")
        axis.set_title(f"block {number}", fontsize=9)
        axis.set_xlabel("channel")
    axes[0].set_ylabel("task")
    figure.suptitle(title, fontsize=10)
    figure.colorbar(mappable, ax=list(axes))
    return save_figure(figure, path)
