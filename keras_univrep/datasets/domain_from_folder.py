"""Makes a domain of a folder of image files."""

import pathlib
import types

import numpy as np

from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.domain_from_arrays import domain_from_arrays
from keras_univrep.datasets.image_copies import (
    check_copies,
    file_digests,
    warn_of_copies,
    without_copies,
)
from keras_univrep.datasets.pillow_loader import as_rgb

_SPLITS = ("train", "validation", "test")
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def domain_from_folder(
    path: str | pathlib.Path,
    image_size: int = 32,
    validation_fraction: float = 0.15,
    test_fraction: float = 0.15,
    seed: int = 0,
    name: str | None = None,
    flip: bool = False,
    licence: str = "",
    source: str = "",
    citation: str = "",
) -> Domain:
    """Makes a domain of the image files of a folder.

    The folder holds one folder per class, or the folders `train`, `validation` and `test` (the last
    two may be absent) with one folder per class each.

    Every image becomes RGB, is cut to its central square and resized with area averaging. Classes
    are numbered in the order of their sorted folder names. Where the folder has no `train`, each
    class is divided by the fractions, rounded, at least one image a split; the division depends on
    file names and seed alone.

    Two files with the same bytes are copies. Of copies in one class, one is kept, with a warning:
    the first of a folder without `train`; with split folders that of the latest split (`test`,
    then `validation`), so that no test image is trained on. Copies in one folder of a split stay.
    Copies in two classes are refused.

    Args:
        path: The folder.
        image_size: Side of the images, in pixels.
        validation_fraction: Share of each class for validation; 0 for none. Unused with split
            folders.
        test_fraction: Share of each class for testing; 0 for none. Unused with split folders.
        seed: Integer from 0.
        name: Name of the domain; None for the folder's name.
        flip: Whether a mirrored image keeps its class.
        licence: Licence of the images.
        source: Address of the origin.
        citation: What to cite.

    Returns:
        A `Domain` with images of shape (image_size, image_size, 3).

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the folder holds no classes, a class too few images, a file is no image, a
            copy of it is in another class, or a fraction is out of range.
        ImportError: If Pillow is not installed.

    Example:

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> for name, shade in (("dark", 10), ("light", 240)):
    ...     (root / name).mkdir()
    ...     for i in range(10):
    ...         Image.new("RGB", (40, 50), (shade, shade, i)).save(root / name / f"{i}.png")
    >>> domain = domain_from_folder(root, name="shades")
    >>> domain.class_names, {split: domain.size(split) for split in domain.splits}
    (('dark', 'light'), {'train': 12, 'validation': 4, 'test': 4})
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        raise FileNotFoundError(
            f"`path` must be a folder of class folders. Received: path='{path}', which is no "
            "folder. Check the path."
        )
    if min(validation_fraction, test_fraction) < 0 or validation_fraction + test_fraction >= 1:
        raise ValueError(
            "`validation_fraction` and `test_fraction` must be at least 0 and sum to less than 1. "
            f"Received: {validation_fraction} and {test_fraction}. Pass smaller fractions."
        )
    if (path / "train").is_dir():
        files, classes = _read_split_folders(path)
    else:
        fractions = {"validation": validation_fraction, "test": test_fraction}
        files, classes = _divide_class_folders(path, fractions, seed)
    pillow = _load_pillow()
    arrays = {
        split: (
            np.stack([_read_image(pillow, file, image_size) for file, _ in pairs]),
            np.array([label for _, label in pairs], "int32"),
        )
        for split, pairs in files.items()
    }
    return domain_from_arrays(
        path.resolve().name if name is None else name,
        train=arrays["train"],
        validation=arrays.get("validation"),
        test=arrays.get("test"),
        class_names=classes,
        flip=flip,
        licence=licence,
        source=source,
        citation=citation,
    )


Files = dict[str, list[tuple[pathlib.Path, int]]]


def _class_folders(path: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    folders = sorted(
        child for child in path.iterdir() if child.is_dir() and not child.name.startswith(".")
    )
    classes = {
        folder.name: sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES)
        for folder in folders
    }
    empty = [name for name, files in classes.items() if not files]
    if not classes or empty:
        raise ValueError(
            f"'{path}' must hold one folder per class with image files ({', '.join(_SUFFIXES)}). "
            f"Received: {len(classes)} folders, without images: {empty}. Remove empty folders, or "
            "convert the images."
        )
    return classes


def _read_split_folders(path: pathlib.Path) -> tuple[Files, list[str]]:
    found = {split: _class_folders(path / split) for split in _SPLITS if (path / split).is_dir()}
    pairs = [pair for content in found.values() for pair in content.items()]
    digests = file_digests(file for _, group in pairs for file in group)
    check_copies(pairs, digests)
    classes = list(found["train"])
    for split, content in found.items():
        extra = sorted(set(content) - set(classes))
        if extra:
            raise ValueError(
                f"Classes of '{path / split}' must also be in '{path / 'train'}'. Received: only "
                f"in {split}: {extra}. Add training images of these classes or remove them."
            )
    files = {
        split: [(file, classes.index(label)) for label, group in content.items() for file in group]
        for split, content in found.items()
    }
    later: set[bytes] = set()
    dropped: list[pathlib.Path] = []
    for split in reversed(files):
        own = {file: digests[file] for file, _ in files[split]}
        copies = {file for file, digest in own.items() if digest in later}
        files[split] = [pair for pair in files[split] if pair[0] not in copies]
        dropped += sorted(copies)
        later |= set(own.values())
    warn_of_copies(dropped, "of which a later split has a copy", stacklevel=4)
    if not files["train"]:
        raise ValueError(
            f"'{path / 'train'}' must hold images that no other split holds. Received: copies "
            "alone. Put other images there."
        )
    return files, classes


def _divide_class_folders(
    path: pathlib.Path, fractions: dict[str, float], seed: int
) -> tuple[Files, list[str]]:
    content = without_copies(_class_folders(path), stacklevel=4)
    wanted = {split: fraction for split, fraction in fractions.items() if fraction > 0}
    files: Files = {split: [] for split in ("train", *wanted)}
    for label, (name, group) in enumerate(content.items()):
        counts = [max(1, round(fraction * len(group))) for fraction in wanted.values()]
        if sum(counts) >= len(group):
            raise ValueError(
                f"A class must have at least {len(wanted) + 1} images, one a split. Received: "
                f"class '{name}' with {len(group)} for fractions {fractions}. Add images, or pass "
                "a smaller fraction or 0."
            )
        order = np.random.default_rng((seed, label)).permutation(len(group))
        parts = np.split(order, np.cumsum(counts))
        for split, part in zip((*wanted, "train"), parts, strict=True):
            files[split] += [(group[i], label) for i in sorted(part)]
    return files, list(content)


def _load_pillow() -> types.ModuleType:
    try:
        import PIL
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise ImportError(
            "`domain_from_folder` reads images with Pillow. Received: an installation without it. "
            "Run `pip install keras_univrep[data]`."
        ) from error
    return PIL


def _read_image(pillow: types.ModuleType, file: pathlib.Path, size: int) -> np.ndarray:
    try:
        with pillow.Image.open(file) as image:
            # Cameras store the rotation beside the pixels.
            image = as_rgb(pillow.ImageOps.exif_transpose(image))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Every file of a class folder must be a readable image. Received: '{file}' ({error}). "
            "Remove the file or write it again."
        ) from error
    return np.asarray(pillow.ImageOps.fit(image, (size, size), pillow.Image.Resampling.BOX))
