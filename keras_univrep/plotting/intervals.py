"""Accuracies of several methods on several domains."""

import pathlib
from collections.abc import Mapping

import numpy as np

from keras_univrep.plotting.figure import new_figure, save_figure


def plot_intervals(
    path: str | pathlib.Path,
    results: Mapping[str, Mapping[str, tuple[float, float]]],
    y_label: str,
    title: str,
) -> pathlib.Path:
    """Draws a group of bars for each domain, a bar for each method, with its interval.

    Args:
        path: The PNG file.
        results: For each method, for each domain, `(mean, half_width)`.
        y_label: What the values are, with their unit.
        title: Of the picture.

    Returns:
        The path.

    Raises:
        ValueError: If there is no method, or methods differ in their domains.
        ImportError: If matplotlib is not installed.
    """
    domains = list(next(iter(results.values()), ()))
    if not domains or any(set(row) != set(domains) for row in results.values()):
        raise ValueError(
            "`results` must give every method the same domains, one or more. Received: "
            f"{ {method: list(row) for method, row in results.items()} }. Fill the gaps first."
        )
    width = 0.8 / len(results)
    figure = new_figure(max(6.0, 1.5 + 0.22 * len(domains) * (len(results) + 1)), 4.0)
    axis = figure.subplots()
    places = np.arange(len(domains))
    for number, (method, row) in enumerate(results.items()):
        means, half_widths = zip(*(row[domain] for domain in domains), strict=True)
        offset = (number - (len(results) - 1) / 2) * width
        axis.bar(places + offset, means, width, yerr=half_widths, capsize=2, label=method)
    axis.set_xticks(places, domains, rotation=30, ha="right")
    axis.set_ylabel(y_label)
    axis.set_title(title, fontsize=10)
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=8)
    return save_figure(figure, path)
