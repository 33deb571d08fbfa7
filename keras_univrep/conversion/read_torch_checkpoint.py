"""Weights of PyTorch's files, without PyTorch."""

import pathlib
from collections.abc import Sequence

import numpy as np

from keras_univrep.conversion._torch_pickle import arrays, read


def read_torch_checkpoint(
    path: str | pathlib.Path, modules: Sequence[str] = ("models",)
) -> dict[str, np.ndarray]:
    """Reads the tensors of a file of `torch.save`, without PyTorch and without executing it.

    PyTorch's files are pickles, which can run any code when they are loaded. Here a pickle may
    build tensors, dictionaries, lists and objects of PyTorch's own layers and of `modules`, of
    which no class is imported; one that asks for anything else is refused.

    Args:
        path: A file of PyTorch, of the zip format or the one before 1.6.
        modules: Python modules whose classes a whole pickled network may have; the authors' are in
            `models.py`.

    Returns:
        The tensors by their names in a state dictionary, after the keys of the dictionaries around
        it, as "net.conv1.weight"; those of a whole network by its own names. What is no tensor is
        left out. A leading "module." of `DataParallel` is dropped.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is no file of PyTorch, is altered, or asks for what is refused.

    Example:
        >>> import io, zipfile
        >>> from keras_univrep.conversion import read_torch_checkpoint
        >>> read_torch_checkpoint("nowhere.pth")  # doctest: +IGNORE_EXCEPTION_DETAIL
        Traceback (most recent call last):
        FileNotFoundError: ...
    """
    path = pathlib.Path(path)
    try:
        found = arrays(read(path, tuple(modules)))
    except FileNotFoundError:
        raise
    # Whatever is wrong with a file ends in some error of whoever reads that part of it: `struct`,
    # `zipfile`, `pickle`, NumPy, or Python itself where it is nested too deeply.
    except Exception as error:
        raise ValueError(
            f"{path} must be a file of PyTorch's `torch.save`, of tensors and networks. Received: "
            f"{str(error) or type(error).__name__}. Nothing of it was executed. If you trust it, "
            "and it has classes of its own, name their modules in `modules`; or load it with "
            "PyTorch and save its state dictionary."
        ) from error
    return {_without_module(name): value for name, value in found.items()}


def _without_module(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "module")
