"""Omniglot with the split of classes on which few-shot methods are compared."""

import functools
import os
import pathlib

import numpy as np

from keras_univrep.datasets.domain import Arrays, Domain
from keras_univrep.datasets.domain_from_arrays import statistics
from keras_univrep.datasets.lazy_splits import LazySplits
from keras_univrep.datasets.local_folder import VARIABLE

FILE = "omniglot28/omniglot28.npz"
VALIDATION = (
    "Armenian",
    "Bengali",
    "Early_Aramaic",
    "Hebrew",
    "Mkhedruli_(Georgian)",
)
_SHAPE = (1623, 20, 98)
_SIZE = 28
# Characters of the evaluation alphabets, in their order, that are trained on.
_TRAINED_ON = 236
_SPLITS = ("train", "validation", "test")


def omniglot_vinyals(data_dir: str | pathlib.Path | None = None, rotations: bool = True) -> Domain:
    """Opens Omniglot at 28x28 pixels, split into classes to train, to select and to test on.

    | split | characters | classes with rotations | images with rotations |
    |---|---|---|---|
    | train | 1028 | 4112 | 82240 |
    | validation | 172: five whole alphabets | 688 | 13760 |
    | test | 423: the last of the evaluation alphabets | 1692 | 33840 |

    The first 1200 characters, the 30 background alphabets before the 20 evaluation alphabets and
    each in alphabetical order, are those of Vinyals et al. (2016) to train on; the alphabets for
    validation are those of Snell et al. (2017). With rotations, a character turned by 90, 180 and
    270 degrees counter-clockwise counts as three more classes, in every split, as in both papers.

    Differences: The images are one-bit ones that were scaled down before, not the grey ones that
        a program gets by resizing the original files. Strokes are white on black, which is what
        the papers' inversion gives.

    Args:
        data_dir: Folder that holds omniglot28/omniglot28.npz: `packed` (1623, 20, 98), bits of
            28x28 images; `alphabet`, `character` and `is_evaluation` (1623,). None for the
            environment variable KERAS_UNIVREP_DATA.
        rotations: Whether to add the classes of turned characters.

    Returns:
        A `Domain` of images (28, 28, 1) with the splits "train", "validation" and "test", no two of
        which share a class. The label of a character turned k times is 4 times its number in the
        file plus k, or its number without rotations; every class has 20 images. Mean and deviation
        are those of the training images.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If the file is not this set.

    Example:

    >>> import os
    >>> if "KERAS_UNIVREP_DATA" in os.environ:
    ...     assert omniglot_vinyals(rotations=False).size("test") == 423 * 20

    References:
        - Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra, Matching Networks for One Shot
          Learning, 2016.
        - Snell, Swersky and Zemel, Prototypical Networks for Few-shot Learning, 2017.
    """
    path = _find(data_dir)
    try:
        with np.load(path, allow_pickle=False) as file:
            packed, alphabet, character, is_evaluation = (
                file[key] for key in ("packed", "alphabet", "character", "is_evaluation")
            )
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"'{path}' must hold Omniglot as the docstring says. Received: {error!r}. Fetch it "
            "again."
        ) from error
    if packed.shape != _SHAPE or int(is_evaluation.sum()) < _TRAINED_ON:
        raise ValueError(
            f"'{path}' must hold `packed` of shape {_SHAPE} and the evaluation alphabets. "
            f"Received: {packed.shape}, {int(is_evaluation.sum())} evaluation characters. Fetch it "
            "again."
        )
    # The file has all alphabets in one order; within each half it is that of the papers' lists.
    is_test = is_evaluation & (np.cumsum(is_evaluation) > _TRAINED_ON)
    is_validation = np.isin(alphabet, VALIDATION)
    parts = dict(zip(_SPLITS, (~(is_test | is_validation), is_validation, is_test), strict=True))
    turns = 4 if rotations else 1

    splits = LazySplits(
        {
            split: functools.partial(_read, packed, np.flatnonzero(part), turns)
            for split, part in parts.items()
        }
    )
    mean, std = statistics(_read(packed, np.flatnonzero(parts["train"]), 1)[0])
    suffixes = [f"/rot{90 * turn:03d}" for turn in range(turns)] if rotations else [""]
    names = [
        f"{a}/{c}{suffix}" for a, c in zip(alphabet, character, strict=True) for suffix in suffixes
    ]
    return Domain(
        name="omniglot_vinyals",
        num_classes=len(names),
        class_names=tuple(names),
        image_shape=(_SIZE, _SIZE, 1),
        mean=mean,
        std=std,
        splits=splits,
        licence="MIT",
        source="https://github.com/brendenlake/omniglot",
        citation="B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum. Human-level Concept Learning "
        "through Probabilistic Program Induction. Science, 2015.",
    )


def _read(packed: np.ndarray, characters: np.ndarray, turns: int) -> Arrays:
    """Images and labels of some characters, each turned 0 to `turns` - 1 times."""
    drawers = packed.shape[1]
    bits = np.unpackbits(packed[characters], axis=-1, count=_SIZE * _SIZE)
    images = bits.reshape(len(characters), 1, drawers, _SIZE, _SIZE, 1) * np.uint8(255)
    turned = [np.rot90(images, turn, axes=(3, 4)) for turn in range(turns)]
    labels = characters[:, None] * turns + np.arange(turns)
    return (
        np.concatenate(turned, axis=1).reshape(-1, _SIZE, _SIZE, 1),
        np.repeat(labels.ravel(), drawers).astype("int32"),
    )


def _find(data_dir: str | pathlib.Path | None) -> pathlib.Path:
    given = os.environ.get(VARIABLE) if data_dir is None else data_dir
    path = pathlib.Path(given or "") / FILE
    if not given or not path.is_file():
        raise FileNotFoundError(
            f"`data_dir`, or the environment variable {VARIABLE}, must be a folder with '{FILE}'. "
            f"Received: data_dir={data_dir!r}, {VARIABLE}={os.environ.get(VARIABLE)!r}. Put the "
            "file there; `load_domain('omniglot')` ships with the package, with fewer characters."
        )
    return path
