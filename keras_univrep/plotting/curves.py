"""One quantity against another, a line for each method."""

import pathlib
from collections.abc import Mapping

from keras_univrep.plotting.figure import new_figure, save_figure

# x, and at each x the values of all seeds.
Curve = Mapping[float, list[float]]


def plot_curves(
    path: str | pathlib.Path, curves: Mapping[str, Curve], x_label: str, y_label: str, title: str
) -> pathlib.Path:
    """Draws the mean over seeds as a line, and the range from lowest to highest as a band.

    Args:
        path: The PNG file.
        curves: For each method, the values of all seeds at each x.
        x_label: What x is, with its unit.
        y_label: What the values are, with their unit.
        title: Of the picture.

    Returns:
        The path.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = new_figure(6.0, 4.0)
    axis = figure.subplots()
    for method, curve in curves.items():
        x = sorted(curve)
        means = [sum(curve[position]) / len(curve[position]) for position in x]
        (line,) = axis.plot(x, means, marker="o", label=method)
        axis.fill_between(
            x,
            [min(curve[position]) for position in x],
            [max(curve[position]) for position in x],
            alpha=0.2,
            color=line.get_color(),
        )
    axis.set_xlabel(x_label)
    axis.set_ylabel(y_label)
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    return save_figure(figure, path)
