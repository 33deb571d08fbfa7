"""Figures without a window system."""

import pathlib
from typing import Any


def new_figure(width: float, height: float) -> Any:
    """Returns an empty matplotlib figure of a size in inches, drawn off screen.

    Args:
        width: In inches.
        height: In inches.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib. Install it with `pip install keras_univrep[recipes]`."
        ) from error
    figure = Figure((width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: str | pathlib.Path) -> pathlib.Path:
    """Writes a figure as PNG, whole or not at all, and returns its path."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    figure.savefig(partial, dpi=120, format="png")
    partial.replace(path)
    return path
