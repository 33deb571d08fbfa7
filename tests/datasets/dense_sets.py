"""Writes tiny dense sets in the layouts that `nyu_local`, `camvid` and the others read."""

import io
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np
from PIL import Image

from keras_univrep.datasets import DenseDomain

RNG = np.random.default_rng(0)
KINDS = {"segmentation": "segmentation", "depth": "depth", "normals": "normals"}


def toy_maps(n: int, height: int, width: int, classes: int = 3) -> dict[str, np.ndarray]:
    """Maps of the three tasks, with pixels that are unknown."""
    normals = RNG.normal(size=(n, height, width, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[:, 0, 0] = 0
    depth = RNG.uniform(0.5, 9, (n, height, width, 1))
    depth[:, -1, -1] = 0
    return {
        "segmentation": RNG.integers(-1, classes, (n, height, width)).astype("int32"),
        "depth": depth.astype("float32"),
        "normals": normals.astype("float32"),
    }


def toy_domain(n: int = 7, height: int = 12, width: int = 18, **fields: object) -> DenseDomain:
    """A domain of random images with three tasks; the split "test" has three images."""
    splits = {
        split: (
            RNG.integers(0, 256, (size, height, width, 3)).astype("uint8"),
            toy_maps(size, height, width),
        )
        for split, size in (("train", n), ("test", 3))
    }
    arguments: dict[str, object] = {
        "name": "toy",
        "tasks": KINDS,
        "class_names": {"segmentation": ("a", "b", "c")},
        "image_shape": (height, width, 3),
        "splits": splits,
    }
    return DenseDomain(**(arguments | fields))  # type: ignore[arg-type]


def encoded(pixels: np.ndarray) -> bytes:
    """A PNG file."""
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def write_archive(path: pathlib.Path, files: Mapping[str, bytes | np.ndarray]) -> pathlib.Path:
    """Writes a zip file; arrays become PNG files, whatever their suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content if isinstance(content, bytes) else encoded(content))
    return path


def nyu_files(
    train: list[int], test: list[int], size: tuple[int, int] = (144, 192)
) -> dict[str, np.ndarray]:
    """Files of `nyu_local`: depth from 1 m to 4 m, labels with void in the first row."""
    files = {}
    for split, numbers in (("train", train), ("test", test)):
        for number in numbers:
            labels = RNG.integers(0, 13, size).astype("uint8")
            labels[0] = 255
            slope = np.linspace(26, 102, size[1]) + np.zeros(size)
            files[f"{split}/rgb/{number:04d}.jpg"] = RNG.integers(0, 256, (*size, 3)).astype(
                "uint8"
            )
            files[f"{split}/depth/{number:04d}.png"] = slope.astype("uint8")
            files[f"{split}/seg13/{number:04d}.png"] = labels
    return files


def write_liu(
    folder: pathlib.Path, sizes: dict[str, int], maps: dict[str, str], size: tuple[int, int]
) -> dict[str, dict[str, np.ndarray]]:
    """Writes the layout of Liu et al.: `maps` is task to folder. Returns what is in it."""
    written = {}
    for split, n in sizes.items():
        arrays = toy_maps(n, *size)
        chosen = {task: arrays["depth" if task == "disparity" else task] for task in maps}
        images = RNG.integers(0, 256, (n, *size, 3)).astype("uint8")
        for kind, values in (
            ("image", images / np.float64(255)),
            *((maps[task], values.astype("float64")) for task, values in chosen.items()),
        ):
            (folder / split / kind).mkdir(parents=True)
            for number, array in enumerate(values):
                np.save(folder / split / kind / f"{number}.npy", array)
        written[split] = {"image": images, **chosen}
    return written
