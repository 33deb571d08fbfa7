"""What `nyuv2` and `cityscapes` share: layouts, splits and their checks."""

import functools
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from keras_univrep.datasets.dense_domain import DenseArrays
from keras_univrep.datasets.dense_folder import DenseFolder
from keras_univrep.datasets.hold_out import hold_out
from keras_univrep.datasets.lazy_splits import LazySplits

LAYOUTS = ("liu2019", "tfds")
# Neighbouring files show one scene or street.
_BLOCK = 20


def check_layout(layout: str) -> None:
    """Checks the name of a layout."""
    if layout not in LAYOUTS:
        raise ValueError(
            f"`layout` must be one of {list(LAYOUTS)}. Received: layout={layout!r}. Pass one of "
            "these."
        )


def choose_tasks(tasks: Sequence[str] | None, every: Mapping[str, str]) -> dict[str, str]:
    """Picks tasks, all if None: a dict of task to kind in the order of `every`."""
    chosen = list(every) if tasks is None else list(tasks)
    if not chosen or not set(chosen) <= set(every) or isinstance(tasks, str):
        raise ValueError(
            f"`tasks` must hold some of {list(every)}. Received: tasks={tasks!r}. Pass a tuple of "
            "these, or None for all."
        )
    return {task: kind for task, kind in every.items() if task in chosen}


def folder_splits(
    data_dir: str | pathlib.Path | None,
    image_size: tuple[int, int],
    folders: Mapping[str, str],
    tasks: Mapping[str, str],
    channels: Mapping[str, int],
    validation: int,
) -> LazySplits[DenseArrays]:
    """Opens the folders of the "liu2019" layout: "val" is the test split."""
    if data_dir is None or not pathlib.Path(data_dir).is_dir():
        raise FileNotFoundError(
            "`data_dir` must be the folder that holds 'train' and 'val' in the layout of Liu et "
            f"al. Received: data_dir={data_dir!r}. Fetch the preprocessed set that "
            "https://github.com/lorenmt/mtan links to and pass its folder."
        )
    names = {task: folders[task] for task in tasks}
    folder = DenseFolder(
        pathlib.Path(data_dir), ("train", "val"), image_size, names, tasks, channels
    )
    train = np.arange(folder.sizes["train"])
    parts = {"train": ("train", train), "test": ("val", np.arange(folder.sizes["val"]))}
    if validation:
        held = hold_out(train // _BLOCK, validation)
        if not held.any():
            raise ValueError(
                f"`validation` must be at least {_BLOCK}, since blocks of {_BLOCK} images are held "
                f"out, or 0. Received: validation={validation}. Pass, for example, 100."
            )
        parts |= {
            "train": ("train", train[~held]),
            "validation": ("train", train[held]),
            "train+validation": ("train", train),
        }
    return LazySplits(
        {
            split: functools.partial(folder.read, where, numbers.tolist())
            for split, (where, numbers) in parts.items()
        }
    )
