"""Reads images and their maps from a zip archive."""

import collections
import io
import pathlib
import struct
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from keras_univrep.datasets.pillow_loader import load_pillow

_DAMAGE = (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error, zipfile.BadZipFile)


class DenseZip:
    """An archive of image files SPLIT/FOLDER/NAME.EXTENSION.

    `folders` lists the folder of the images first and those of the maps after it. Each image has
    one map of its name in each of the other folders.

    Args:
        path: The zip file.
        splits: Names of the splits.
        folders: Names of the folders of a split.
        image_size: (height, width) of every file in pixels.
        reader: Name of the function that needs it, for errors.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no zip file, is cut off, or does not have this layout.

    Example:

    >>> import io, pathlib, tempfile, zipfile
    >>> from PIL import Image
    >>> from keras_univrep.datasets.dense_zip import DenseZip
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "rooms.zip"
    >>> with zipfile.ZipFile(path, "w") as file:
    ...     for name, mode in (("train/rgb/1.png", "RGB"), ("train/depth/1.png", "L")):
    ...         content = io.BytesIO()
    ...         Image.new(mode, (6, 4)).save(content, "PNG")
    ...         file.writestr(name, content.getvalue())
    >>> rooms = DenseZip(path, ["train"], ["rgb", "depth"], (4, 6), "`rooms`")
    >>> rooms.names["train"], rooms.read("train", "depth", ["1"]).shape
    (['1'], (1, 4, 6))
    """

    def __init__(
        self,
        path: pathlib.Path,
        splits: Sequence[str],
        folders: Sequence[str],
        image_size: tuple[int, int],
        reader: str,
    ) -> None:
        self.path = path
        self.image_size = image_size
        self._reader = reader
        self._images = folders[0]
        if not path.is_file():
            raise FileNotFoundError(
                f"{reader} must find its file in the folder of the image sets. Received: no file "
                f"'{path}'. Put it there, or pass another `data_dir`."
            )
        try:
            with zipfile.ZipFile(path) as file:
                members = [member for member in file.infolist() if not member.is_dir()]
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"'{path}' must be a whole zip file. Received: {error}. Fetch it again."
            ) from error
        self._members: dict[tuple[str, str, str], str] = {}
        for member in members:
            parts = pathlib.PurePosixPath(member.filename)
            if len(parts.parts) != 3:
                continue
            key = (parts.parts[0], parts.parts[1], parts.stem)
            if key in self._members:
                self._refuse("hold each file once", f"'{member.filename}' twice")
            self._members[key] = member.filename
        self.names = {split: self._names(split, folders) for split in splits}
        self.fingerprint = repr([(m.filename, m.CRC, m.file_size) for m in members])
        self._refuse_copies(members)

    def read(self, split: str, folder: str, names: Sequence[str]) -> np.ndarray:
        """Decodes files of a folder.

        Args:
            split: Name of the split.
            folder: Name of the folder.
            names: Names of the files, without extension.

        Returns:
            uint8 (n, height, width, 3) for the folder of the images, (n, height, width) for maps.

        Raises:
            ValueError: If a file is damaged, of another size, or a map is not of one byte a pixel.
            ImportError: If Pillow is not installed.
        """
        pillow = load_pillow(self._reader)
        channels = (3,) if folder == self._images else ()
        arrays = np.empty((len(names), *self.image_size, *channels), "uint8")
        with zipfile.ZipFile(self.path) as file:
            for row, name in enumerate(names):
                member = self._members[split, folder, name]
                try:
                    with pillow.Image.open(io.BytesIO(file.read(member))) as image:
                        pixels = np.asarray(image.convert("RGB") if channels else image)
                except _DAMAGE as error:
                    raise ValueError(
                        f"'{member}' of '{self.path}' must be a whole image file. Received: "
                        f"{error}. Fetch the archive again."
                    ) from error
                if pixels.shape != arrays.shape[1:] or pixels.dtype != np.uint8:
                    self._refuse(
                        f"hold files of one byte a channel and shape {arrays.shape[1:]}",
                        f"{pixels.dtype} of shape {pixels.shape} in '{member}'",
                    )
                arrays[row] = pixels
        return arrays

    def _names(self, split: str, folders: Sequence[str]) -> list[str]:
        found = {
            folder: {name for s, f, name in self._members if (s, f) == (split, folder)}
            for folder in folders
        }
        every = set.union(*found.values())
        for folder, names in found.items():
            if every - names:
                self._refuse(
                    f"hold one file of each name in each of {[f'{split}/{f}' for f in folders]}",
                    f"no {sorted(every - names)[:5]} in '{split}/{folder}'",
                )
        if not every:
            self._refuse(f"hold images in '{split}/{folders[0]}'", "none")
        return sorted(every)

    def _refuse_copies(self, members: list[zipfile.ZipInfo]) -> None:
        names = {
            self._members[split, self._images, name]
            for split, stems in self.names.items()
            for name in stems
        }
        copies = collections.defaultdict(list)
        for member in members:
            if member.filename in names:
                copies[member.CRC, member.file_size].append(member.filename)
        for same in copies.values():
            if len(same) > 1:
                self._refuse("hold no image twice", f"the same file as {same}")

    def _refuse(self, rule: str, came: str) -> None:
        raise ValueError(
            f"'{self.path}' must {rule}. Received: {came}. Fetch the archive again, or repair it."
        )
