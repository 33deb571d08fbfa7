"""Image files inside a zip file, numbered by class."""

import io
import pathlib
import re
import zipfile
from collections.abc import Sequence

import numpy as np

from keras_univrep.datasets.pillow_loader import load_pillow


class ZipImages(Sequence[np.ndarray]):
    """Images of a zip file, in the order of their names, decoded to RGB when they are asked for.

    Args:
        path: The zip file.
        pattern: Regular expression of the whole name of an image; other files are left out. Its
            group "label" is the class; classes are numbered in the order of their names.

    Attributes:
        matches: What `pattern` found in the name of each image.
        class_names: What was found for "label", sorted.
        labels: Classes of the images, int32 (n,).

    Raises:
        ImportError: If Pillow is not installed.
    """

    def __init__(self, path: pathlib.Path, pattern: str) -> None:
        self._pillow = load_pillow("`ZipImages`")
        self._file = zipfile.ZipFile(path)
        found = (re.fullmatch(pattern, name) for name in sorted(self._file.namelist()))
        self.matches = [match for match in found if match]
        self.class_names = tuple(sorted({match["label"] for match in self.matches}))
        numbers = {name: number for number, name in enumerate(self.class_names)}
        self.labels = np.array([numbers[match["label"]] for match in self.matches], "int32")

    def __len__(self) -> int:
        return len(self.matches)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        content = io.BytesIO(self._file.read(self.matches[index].string))
        with self._pillow.Image.open(content) as image:
            return np.asarray(image.convert("RGB"))

    def text(self, name: str) -> str:
        """Returns the content of another file of the zip file."""
        return self._file.read(name).decode()
