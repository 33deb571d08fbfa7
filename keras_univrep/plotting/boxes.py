"""What a detector found, on its images."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_univrep.plotting.figure import new_figure, save_figure

COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6", "#bfef45")


def plot_boxes(
    path: str | pathlib.Path,
    images: np.ndarray,
    objects: Mapping[str, np.ndarray] | None = None,
    class_names: Sequence[str] | None = None,
    truths: Mapping[str, np.ndarray] | None = None,
    masks: np.ndarray | None = None,
    score_threshold: float = 0.3,
    ignore_label: int = -1,
    columns: int = 4,
) -> pathlib.Path:
    """Draws boxes with their classes and scores over images, and maps of classes under them.

    Objects have full lines and their scores in per cent, true ones dashed white lines.

    Args:
        path: The PNG file.
        images: (images, height, width, 3), uint8 or floats in [0, 1].
        objects: `{"boxes": (images, places, 4), "labels": (images, places)}`, left, top, right,
            bottom in pixels, and -1 where there is no object; with "scores" too if there are any.
        class_names: Names by class; `None` for numbers.
        truths: The true objects, without scores.
        masks: Classes of pixels, (images, height, width), or `ignore_label`.
        score_threshold: What scores less is not drawn.
        ignore_label: Label of pixels without a class.
        columns: Images of a row.

    Returns:
        The path.

    Raises:
        ValueError: If images, objects and masks do not belong together, or a class has no name.
        ImportError: If matplotlib is not installed.

    Example:
        >>> import os, tempfile
        >>> from keras_univrep.plotting import plot_boxes
        >>> objects = {"boxes": np.array([[[1, 1, 6, 5]]]), "labels": np.array([[0]])}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = os.path.join(folder, "boxes.png")
        ...     plot_boxes(path, np.zeros((1, 8, 8, 3)), objects, ["cell"]).name
        'boxes.png'
    """
    images = np.asarray(images)
    _check(images, (objects, truths), masks, class_names, ignore_label, columns)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, width = images.shape[1:3]
    figure = new_figure(2.6 * columns, 2.6 * rows * height / width + 0.1)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for index, (axis, image) in enumerate(zip(axes, images)):
        axis.imshow(image, interpolation="nearest", extent=(0, width, height, 0))
        if masks is not None:
            axis.imshow(
                _tint(np.asarray(masks[index]), ignore_label),
                interpolation="nearest",
                extent=(0, width, height, 0),
            )
        for values, true in ((truths, True), (objects, False)):
            if values is not None:
                _draw(axis, values, index, class_names, true, score_threshold)
        axis.set_xlim(0, width)
        axis.set_ylim(height, 0)
    return save_figure(figure, path)


def _draw(
    axis: Any,
    values: Mapping[str, np.ndarray],
    index: int,
    names: Sequence[str] | None,
    true: bool,
    threshold: float,
) -> None:
    from matplotlib.patches import Rectangle

    scores = None if true or "scores" not in values else np.asarray(values["scores"])[index]
    for place, (box, label) in enumerate(
        zip(np.asarray(values["boxes"])[index], np.asarray(values["labels"])[index], strict=True)
    ):
        if label < 0 or (scores is not None and scores[place] < threshold):
            continue
        left, top, right, bottom = (float(value) for value in box)
        colour = "white" if true else _colour(int(label))
        line = {"linewidth": 1.2, "linestyle": "--"} if true else {"linewidth": 1.5}
        axis.add_patch(
            Rectangle((left, top), right - left, bottom - top, fill=False, color=colour, **line)
        )
        if true:
            continue
        text = str(int(label)) if names is None else str(names[int(label)])[:16]
        text += "" if scores is None else f" {100.0 * float(scores[place]):.0f}"
        axis.text(
            left, top, text, fontsize=6, color="white", verticalalignment="top", clip_on=True,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.8, "alpha": 0.8},
        )  # fmt: skip


def _colour(label: int) -> str:
    return COLOURS[label % len(COLOURS)]


def _tint(mask: np.ndarray, ignore_label: int) -> np.ndarray:
    """Half-transparent colours of the classes, nothing where there is none."""
    found = np.zeros((*mask.shape, 4))
    for label in np.unique(mask[mask != ignore_label]):
        code = _colour(int(label))
        channels = [int(code[i : i + 2], 16) / 255.0 for i in (1, 3, 5)]
        found[mask == label] = [*channels, 0.45]
    return found


def _check(
    images: np.ndarray,
    boxes: Sequence[Mapping[str, np.ndarray] | None],
    masks: np.ndarray | None,
    class_names: Sequence[str] | None,
    ignore_label: int,
    columns: int,
) -> None:
    given = [values for values in boxes if values is not None]
    shapes = [
        {key: np.shape(values[key]) for key in ("boxes", "labels", "scores") if key in values}
        for values in given
    ]
    good = images.ndim == 4 and len(images) > 0 and columns >= 1
    for shape in shapes:
        labels = shape.get("labels", ())
        good = good and len(labels) == 2 and labels[0] == len(images)
        good = good and shape.get("boxes") == (*labels, 4) and shape.get("scores", labels) == labels
    mask_shape = None if masks is None else np.shape(masks)
    if not good or (masks is not None and mask_shape != images.shape[:3]):
        raise ValueError(
            "Boxes must be (images, places, 4), labels and scores (images, places), masks (images, "
            f"height, width), and there must be an image. Received: images of shape "
            f"{images.shape}, objects and truths of shapes {shapes}, masks of shape {mask_shape}, "
            f"columns={columns}. Give all of the same images."
        )
    highest = max([int(np.max(v["labels"], initial=-1)) for v in given], default=-1)
    if class_names is not None and highest >= len(class_names):
        raise ValueError(
            f"`class_names` must name each class. Received: {len(class_names)} names, and the "
            f"class {highest}. Pass all names, or None."
        )
