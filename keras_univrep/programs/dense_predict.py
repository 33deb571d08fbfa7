"""Predicts the dense maps of an image, as pictures."""

import collections
import colorsys
import pathlib
import time
from typing import Any

import keras
import numpy as np

from keras_univrep.backbones import SegNet
from keras_univrep.evaluation import write_results
from keras_univrep.programs._pictures import image_files, read_image, write_image
from keras_univrep.programs._smoke import write_examples

MULTIPLE = 32  # of the sides that the networks take


def dense_predict(
    output_dir: str,
    image: str | None = None,
    network: str | None = None,
    height: int = 288,
    width: int = 384,
    smoke: bool = False,
) -> dict[str, str]:
    """Writes what a dense network sees in an image: classes, depths and normals as PNG files.

    A task with one channel is a depth (dark is near; its range stands in `results.json`), one whose
    vectors have length 1 are normals ((1 + x) / 2 as red, and so on), any other holds logits of
    classes, each a colour. The numbers themselves are kept in `maps.npz`.

    Args:
        output_dir: Folder of the pictures.
        image: The image file, or a folder of images.
        network: A `.keras` file of a network of dense tasks, as `recipes/balance_nyu.py` leaves it.
        height: Height at which the network sees the image, in pixels; a multiple of 32.
        width: Width, likewise.
        smoke: Whether to try it on an image of the package and an untrained network.

    Returns:
        The file of each picture by "<image>/<task>", where the image goes by its path inside the
        folder, without its suffix unless two differ in nothing else.

    Raises:
        FileNotFoundError: If there is no image or no network.
        ValueError: If there is no `image`, the sizes are no multiples of 32, or the file is no
            network of dense tasks.

    Example:
        `keras-univrep dense_predict --image=room.jpg --network=network.keras --output_dir=out`
    """
    start = time.time()
    folder = pathlib.Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    model: keras.Model
    if smoke:
        image, height, width = str(write_examples(folder / "examples", 1, 1)), 32, 64
        model = SegNet({"segmentation": 5, "depth": 1, "normals": 3}, width=0.0625)
    else:
        if network is None or not pathlib.Path(network).is_file():
            raise FileNotFoundError(
                f"`network` must be a .keras file. Received: network={network!r}, where there is "
                "none. Train one with recipes/balance_nyu.py."
            )
        model = keras.models.load_model(network, compile=False)
    if height < MULTIPLE or width < MULTIPLE or height % MULTIPLE or width % MULTIPLE:
        raise ValueError(
            f"`height` and `width` must be positive multiples of {MULTIPLE}. Received: "
            f"height={height}, width={width}. Round them."
        )
    tasks, normalized = getattr(model, "tasks", None), getattr(model, "normalized", ())
    if not tasks:
        raise ValueError(
            "`network` must be a network of dense tasks, with the attribute `tasks`. Received: "
            f"{type(model).__name__}. See `applications.UniversalSegNet`."
        )
    files, pictures, ranges = image_files(image, "image"), {}, []
    names = _names(files, pathlib.Path(image or ""))
    for file in files:
        seen = read_image(file, (height, width), whole=True)
        outputs = model.predict_on_batch(seen[None].astype("float32") / 255.0)
        maps = {task: np.asarray(outputs[task][0], "float32") for task in tasks}
        place = folder / names[file]
        place.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(place / "maps.npz", allow_pickle=False, **maps)
        write_image(place / "image.png", seen)
        row: dict[str, Any] = {"method": model.name, "image": str(file)}
        for task, values in maps.items():
            picture = _draw(values, task in normalized)
            pictures[f"{names[file]}/{task}"] = str(write_image(place / f"{task}.png", picture))
            if tasks[task] == 1:
                row[f"{task}_range"] = [float(values.min()), float(values.max())]
        ranges.append(row)
    write_results(folder / "results.json", ranges, 0, time.time() - start)
    return pictures


def _names(files: list[pathlib.Path], root: pathlib.Path) -> dict[pathlib.Path, str]:
    """Where the results of each file go: its path inside the folder, which no other file has."""
    paths = {file: file.relative_to(root if root.is_dir() else file.parent) for file in files}
    bare = collections.Counter(path.with_suffix("") for path in paths.values())
    return {
        file: (path if bare[path.with_suffix("")] > 1 else path.with_suffix("")).as_posix()
        for file, path in paths.items()
    }


def _draw(values: np.ndarray, unit: bool) -> np.ndarray:
    """A map (height, width, channels) as a picture, uint8 (height, width, 3)."""
    if unit:
        return (np.clip((1.0 + values) / 2.0, 0.0, 1.0) * 255.0).astype("uint8")
    if values.shape[-1] == 1:
        low, high = values.min(), values.max()
        grey = (values - low) / (high - low if high > low else 1.0)
        return np.repeat((255.0 * grey).astype("uint8"), 3, axis=-1)
    return _colours(values.shape[-1])[values.argmax(axis=-1)]


def _colours(count: int) -> np.ndarray:
    """Colours that differ: steps of the golden angle around the hues."""
    hues = [
        (0.618034 * i % 1.0, 0.45 + 0.55 * (i % 2), 0.95 - 0.25 * (i % 3)) for i in range(count)
    ]
    return (255.0 * np.array([colorsys.hsv_to_rgb(*hue) for hue in hues])).astype("uint8")
