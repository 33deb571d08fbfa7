"""What dense networks predict, beside the truth."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_univrep.metrics import DepthError, MeanIoU, NormalError
from keras_univrep.plotting.figure import new_figure, save_figure

KINDS = ("segmentation", "depth", "normals")
Maps = Mapping[str, np.ndarray]


def plot_dense_maps(
    path: str | pathlib.Path,
    images: np.ndarray,
    truths: Maps,
    predictions: Mapping[str, Maps],
    kinds: Mapping[str, str] | None = None,
    class_names: Sequence[str] | None = None,
    ignore_label: int = -1,
) -> pathlib.Path:
    """Draws image, truth and the predictions of each method side by side, as li2022 figure 3.

    One row for each image and task. Above each prediction stands its error in this image: mIoU in
    per cent, the absolute error of depth in its unit, the mean angle of normals in degrees. Pixels
    without a truth are black in it and do not count. All depths of a row have the colours of the
    true range, dark to bright; a normal (x, y, z) has the red, green and blue (1 + x) / 2 and so
    on.

    Args:
        path: The PNG file.
        images: (images, h, w, 3), uint8 or floats in [0, 1].
        truths: Targets of each task: labels (images, h, w) or `ignore_label`, depths
            (images, h, w, 1) or 0, unit normals (images, h, w, 3) or 0.
        predictions: For each method, for each task, logits (images, h, w, classes), depths
            (images, h, w, 1) or normals (images, h, w, 3).
        kinds: What each task is: "segmentation", "depth" or "normals"; by default its name.
        class_names: Names of the classes, for a legend; `None` for none.
        ignore_label: Label of pixels without a class.

    Returns:
        The path.

    Raises:
        ValueError: If images, truths and predictions do not belong together, a task is of no known
            kind, or a label is none of the classes.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import os, tempfile
        >>> from keras_univrep.plotting import plot_dense_maps
        >>> depth = np.linspace(1.0, 2.0, 12).reshape(1, 3, 4, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "maps.png")
        ...     plot_dense_maps(
        ...         path,
        ...         images=np.zeros((1, 3, 4, 3)),
        ...         truths={"depth": depth},
        ...         predictions={"too far": {"depth": depth + 0.5}},
        ...     ).name
        'maps.png'
    """
    kinds = {task: task for task in truths} if kinds is None else dict(kinds)
    _check(np.asarray(images), truths, predictions, kinds)
    height, width = images.shape[1:3]
    rows, columns = len(images) * len(truths), 2 + len(predictions)
    side = 1.6
    figure = new_figure(side * columns, (side * height / width + 0.3) * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False)
    for number, row in enumerate(axes):
        index, task = number // len(truths), list(truths)[number % len(truths)]
        kind, truth = kinds[task], np.asarray(truths[task][index])
        known = _known(kind, truth, ignore_label)
        _show(row[0], images[index], "image" if number == 0 else "")
        _draw(row[1], kind, truth, known, truth[known], "truth")
        row[0].set_ylabel(task, fontsize=8)
        for axis, (method, maps) in zip(row[2:], predictions.items(), strict=True):
            raw = np.asarray(maps[task][index])
            drawn = raw.argmax(-1) if kind == "segmentation" else raw
            title = f"{method}\n{_error(kind, truth, raw, ignore_label)}"
            _draw(axis, kind, drawn, np.ones_like(known), truth[known], title)
    if class_names is not None and "segmentation" in kinds.values():
        from matplotlib.patches import Patch

        patches = [Patch(color=_colour(i), label=name) for i, name in enumerate(class_names)]
        figure.legend(handles=patches, loc="outside lower center", ncols=6, fontsize=7)
    return save_figure(figure, path)


def _check(
    images: np.ndarray, truths: Maps, predictions: Mapping[str, Maps], kinds: Mapping[str, str]
) -> None:
    maps = [*truths.values(), *(p for of in predictions.values() for p in of.values())]
    tasks = {method: sorted(of) for method, of in predictions.items()}
    if (
        not truths
        or images.ndim != 4
        or not len(images)
        or any(names != sorted(truths) for names in tasks.values())
        or any(np.shape(values)[:3] != images.shape[:3] for values in maps)
    ):
        came = {m: {t: np.shape(v) for t, v in of.items()} for m, of in predictions.items()}
        raise ValueError(
            "Truths and predictions must have the size of the images, and each method the tasks of "
            f"the truths. Received: images of shape {images.shape}, truths of shapes "
            f"{ {task: np.shape(values) for task, values in truths.items()} }, predictions of "
            f"shapes {came}. Give all of the same images."
        )
    unknown = [task for task in truths if kinds.get(task) not in KINDS]
    if unknown:
        raise ValueError(
            f"Each task must be one of {KINDS}. Received: {unknown} with kinds={dict(kinds)}. "
            "Say in `kinds` what these are."
        )


def _known(kind: str, truth: np.ndarray, ignore_label: int) -> np.ndarray:
    """Pixels with a truth, (h, w)."""
    if kind == "segmentation":
        return truth != ignore_label
    return np.isfinite(truth).all(-1) & (truth != 0).any(-1)


def _error(kind: str, truth: np.ndarray, prediction: np.ndarray, ignore_label: int) -> str:
    metric: Any
    if kind == "segmentation":
        metric, layout = MeanIoU(prediction.shape[-1], ignore_label), "mIoU {:.1f} %"
    elif kind == "depth":
        metric, layout = DepthError(), "aErr {:.3f}"
    else:
        metric, layout = NormalError(), "mErr {:.1f}°"
    metric.update_state(truth[None], prediction[None])
    value = float(metric.result()) * (100.0 if kind == "segmentation" else 1.0)
    return layout.format(value) if np.isfinite(value) else "no truth"


def _draw(
    axis: Any, kind: str, values: np.ndarray, shown: np.ndarray, true: np.ndarray, title: str
) -> None:
    """A map with black where not `shown`; `true` are the known values of the truth."""
    axis.set_facecolor("black")
    if kind == "depth":
        low, high = (float(true.min()), float(true.max())) if true.size else (None, None)
        masked = np.ma.masked_array(values[..., 0], ~shown)
        _show(axis, masked, title, cmap="viridis", vmin=low, vmax=high)
        return
    if kind == "segmentation":
        colours = np.zeros((*values.shape, 3))
        for label in np.unique(values[shown]):
            colours[values == label] = _colour(int(label))
    else:
        lengths = np.linalg.norm(values, axis=-1, keepdims=True)
        colours = np.clip((1.0 + values / np.where(lengths > 0, lengths, 1.0)) / 2.0, 0.0, 1.0)
    _show(axis, np.where(shown[..., None], colours, 0.0), title)


def _show(axis: Any, image: np.ndarray, title: str, **options: Any) -> None:
    axis.imshow(image, interpolation="nearest", **options)
    axis.set_title(title, fontsize=7)
    axis.set_xticks([])
    axis.set_yticks([])


def _colour(label: int) -> tuple[float, float, float]:
    """Red, green and blue of a class: hues a golden angle apart, at alternating brightness."""
    hue = 6.0 * (label * 0.6180339887 % 1.0)
    value = (0.95, 0.7, 0.5)[label % 3]
    red, green, blue = (
        value * min(max(abs((hue + shift) % 6.0 - 3.0) - 1.0, 0.15), 1.0) for shift in (0, 4, 2)
    )
    return red, green, blue
