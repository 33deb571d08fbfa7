"""Reads images and their maps from a folder of NumPy files."""

import hashlib
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from keras_univrep.datasets.dense_domain import DenseArrays

_DAMAGE = (OSError, EOFError, ValueError)


class DenseFolder:
    """A folder SPLIT/KIND/NUMBER.npy, as Liu et al. published NYUv2 and Cityscapes.

    Files of a split are numbered from 0 without a gap, the same in each of its folders.

    Args:
        path: Folder of the splits.
        splits: Names of the splits.
        image_size: (height, width) of every file in pixels.
        folders: Dict of task to the name of the folder of its maps.
        tasks: Dict of task to kind.
        channels: Dict of task to number of classes or channels.

    Raises:
        FileNotFoundError: If the folder or a file of a number is missing.
        ValueError: If a file has another name.

    Example:

    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from keras_univrep.datasets.dense_folder import DenseFolder
    >>> path = pathlib.Path(tempfile.mkdtemp())
    >>> for kind, channels in (("image", 3), ("depth", 1)):
    ...     (path / "train" / kind).mkdir(parents=True)
    ...     np.save(path / "train" / kind / "0.npy", np.ones((4, 6, channels)))
    >>> kinds, sizes = {"depth": "depth"}, {"depth": 1}
    >>> rooms = DenseFolder(path, ["train"], (4, 6), {"depth": "depth"}, kinds, sizes)
    >>> images, targets = rooms.read("train", range(rooms.sizes["train"]))
    >>> images.shape, targets["depth"].shape
    ((1, 4, 6, 3), (1, 4, 6, 1))
    """

    def __init__(
        self,
        path: pathlib.Path,
        splits: Sequence[str],
        image_size: tuple[int, int],
        folders: Mapping[str, str],
        tasks: Mapping[str, str],
        channels: Mapping[str, int],
    ) -> None:
        self._path, self._image_size = path, image_size
        self._folders, self._tasks, self._channels = dict(folders), dict(tasks), dict(channels)
        self.sizes = {split: self._count(split) for split in splits}

    def read(self, split: str, numbers: Sequence[int]) -> DenseArrays:
        """Reads images and maps.

        Args:
            split: Name of the split.
            numbers: Numbers of the files.

        Returns:
            Images, uint8 (n, height, width, 3), rounded to whole levels, and a dict of task to
            maps, as `DenseDomain` wants them.

        Raises:
            ValueError: If a file is damaged, has another size or values out of range, or two
                images are the same.
        """
        n, size = len(numbers), self._image_size
        images = np.empty((n, *size, 3), "uint8")
        targets = {
            task: np.empty((n, *size), "int8")
            if kind == "segmentation"
            else np.empty((n, *size, self._channels[task]), "float32")
            for task, kind in self._tasks.items()
        }
        seen: dict[bytes, int] = {}
        for row, number in enumerate(numbers):
            images[row] = self._image(split, number)
            digest = hashlib.sha256(images[row].tobytes()).digest()
            if digest in seen:
                raise ValueError(
                    f"'{self._path / split}' must hold no image twice. Received: the same image as "
                    f"{seen[digest]}.npy and {number}.npy. Fetch the files again."
                )
            seen[digest] = number
            for task, maps in targets.items():
                maps[row] = self._map(split, number, task)
        return images, targets

    def _count(self, split: str) -> int:
        counts = {}
        for folder in ("image", *self._folders.values()):
            place = self._path / split / folder
            if not place.is_dir():
                raise FileNotFoundError(
                    f"`data_dir` must hold the folder '{split}/{folder}' of NumPy files. Received: "
                    f"no folder '{place}'. Pass the folder that holds the splits, or other `tasks`."
                )
            names = [entry.name for entry in place.iterdir() if entry.suffix == ".npy"]
            odd = sorted(name for name in names if not re.fullmatch(r"0\.npy|[1-9]\d*\.npy", name))
            if odd:
                raise ValueError(
                    f"Files of '{place}' must be named by their number, such as '0.npy'. Received: "
                    f"{odd[:5]}. Remove them: they may be copies."
                )
            found = {int(name[:-4]) for name in names}
            counts[folder] = (found, place)
        every = set.union(*(found for found, _ in counts.values()))
        wanted = set(range(max(every, default=0) + 1))
        for found, place in counts.values():
            if wanted - found:
                raise FileNotFoundError(
                    f"'{place}' must hold a file of each number from 0 to {max(wanted)}, which are "
                    f"those of its neighbours. Received: no {sorted(wanted - found)[:5]}. Fetch "
                    "the missing files again."
                )
        return len(wanted)

    def _load(self, split: str, folder: str, number: int, shape: tuple[int, ...]) -> np.ndarray:
        path = self._path / split / folder / f"{number}.npy"
        try:
            array = np.load(path, allow_pickle=False)
        except _DAMAGE as error:
            raise ValueError(
                f"'{path}' must be a whole NumPy file. Received: {error}. Fetch it again."
            ) from error
        if array.shape != shape or array.dtype.kind not in "uif" or not np.isfinite(array).all():
            raise ValueError(
                f"'{path}' must hold finite numbers of shape {shape}. Received: {array.dtype} of "
                f"shape {array.shape}. Pass the `image_size` of the files, or fetch it again."
            )
        return array

    def _image(self, split: str, number: int) -> np.ndarray:
        image = self._load(split, "image", number, (*self._image_size, 3))
        if image.dtype == np.uint8:
            return image
        if image.min() < 0 or image.max() > 1:
            raise ValueError(
                f"Images of '{self._path / split}' must be floats in [0, 1] or uint8. Received: "
                f"{image.dtype} from {image.min()} to {image.max()} in {number}.npy. Undo their "
                "normalisation."
            )
        return np.rint(image * 255.0).astype("uint8")

    def _map(self, split: str, number: int, task: str) -> np.ndarray:
        kind, folder = self._tasks[task], self._folders[task]
        if kind != "segmentation":
            values = self._load(split, folder, number, (*self._image_size, self._channels[task]))
            return _unit(values) if kind == "normals" else values
        labels = self._load(split, folder, number, self._image_size)
        classes = self._channels[task]
        bad = (labels != np.rint(labels)) | (labels < -1) | (labels >= classes)
        if bad.any():
            raise ValueError(
                f"Labels of '{self._path / split / folder}' must be whole numbers in "
                f"[0, {classes}), or -1 without label. Received: {labels[bad][0]} in {number}.npy. "
                "Fetch the files again, or pass the number of classes that they have."
            )
        return labels.astype("int8")


def _unit(values: np.ndarray) -> np.ndarray:
    """Scales normals to length 1; those shorter than a half are unknown."""
    length = np.linalg.norm(values.astype("float64"), axis=-1, keepdims=True)
    known = length > 0.5
    return np.where(known, values / np.where(known, length, 1), 0)
