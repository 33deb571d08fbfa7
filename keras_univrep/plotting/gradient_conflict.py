"""How the gradients of tasks agree or conflict in the course of training."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from keras_univrep.plotting.figure import new_figure, save_figure


def plot_gradient_conflict(
    path: str | pathlib.Path,
    cosines_by_pair: Mapping[str | tuple[str, str], Sequence[float]],
    steps: Sequence[float] | None = None,
    window: int = 1,
    x_label: str = "step",
    title: str = "",
) -> pathlib.Path:
    """Draws the cosine between the gradients of each two tasks against the course of training.

    Below the line at zero a step for one task undoes some of the other. The legend says how many
    of the steps, in per cent, are below it.

    Args:
        path: The PNG file.
        cosines_by_pair: For each two tasks, a pair of names or one text, the cosine at each step,
            in [-1, 1]; NaN where there is none.
        steps: Steps or epochs of the cosines; `None` counts from 1.
        window: How many steps the line averages; the cosines themselves are faint behind it.
        x_label: What `steps` are.
        title: Of the picture.

    Returns:
        The path.

    Raises:
        ValueError: If there is no pair or no step, a pair has another number of steps, a number is
            no cosine, or the window is not in [1, number of steps].
        ImportError: If matplotlib is not installed.

    Example:
        >>> import os, tempfile
        >>> from keras_univrep.plotting import plot_gradient_conflict
        >>> cosines = {("depth", "normals"): [0.4, 0.1, -0.2]}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plot_gradient_conflict(os.path.join(folder, "conflict.png"), cosines).name
        'conflict.png'
    """
    curves = {pair: np.asarray(values, "float64") for pair, values in cosines_by_pair.items()}
    count = len(next(iter(curves.values()), ())) if steps is None else len(steps)
    if not curves or not count or any(values.shape != (count,) for values in curves.values()):
        raise ValueError(
            "`cosines_by_pair` must give each pair one cosine a step. Received: "
            f"{ {pair: values.shape for pair, values in curves.items()} } for {count} steps. "
            "Leave out steps that a pair does not have, or put NaN."
        )
    # Rounding may lead a little beyond the ends.
    wrong = {p: v[np.abs(v) > 1.001].tolist()[:3] for p, v in curves.items()}
    if any(wrong.values()):
        raise ValueError(
            f"Cosines must be in [-1, 1]. Received: { {p: v for p, v in wrong.items() if v} }. "
            "Divide products of gradients by both lengths."
        )
    if not 1 <= window <= count:
        raise ValueError(
            f"`window` must be in [1, {count}], the number of steps. Received: window={window}. "
            "Pass 1 for no average."
        )
    x = np.arange(1, count + 1) if steps is None else np.asarray(steps, "float64")
    figure = new_figure(6.0, 4.0)
    axis = figure.subplots()
    axis.axhspan(-1.0, 0.0, color="tab:red", alpha=0.08)
    axis.axhline(0.0, color="black", linewidth=1.2)
    for pair, values in curves.items():
        name = pair if isinstance(pair, str) else ", ".join(pair)
        known = values[np.isfinite(values)]
        below = f"{100 * np.mean(known < 0):.0f} % below 0" if known.size else "none known"
        smooth = np.convolve(values, np.full(window, 1.0 / window), "valid")
        (line,) = axis.plot(x[window - 1 :], smooth, label=f"{name} ({below})")
        if window > 1:
            axis.plot(x, values, color=line.get_color(), alpha=0.25, linewidth=0.8)
    axis.set_ylim(-1.0, 1.0)
    axis.set_xlabel(x_label if window == 1 else f"{x_label} (average of the last {window})")
    axis.set_ylabel("cosine between gradients")
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    return save_figure(figure, path)
