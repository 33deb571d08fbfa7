"""Room on a disk for a file of weights."""

import math
import os
import pathlib

import keras


def reserve(path: pathlib.Path, size: int) -> None:
    """Raises OSError unless so many bytes can be written to a new file.

    HDF5 ends the process where a disk fills up, and says nothing; so what writes it asks first.
    """
    try:
        with path.open("xb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
    finally:
        path.unlink(missing_ok=True)


def bytes_of(model: keras.Model) -> int:
    """What a file of the weights takes, and of the optimizer's; rather too much than too little."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer is not None else ())]
    arrays = sum(math.prod(v.shape) * (8 if "64" in v.dtype else 4) for v in variables)
    return arrays + 4096 * (len(variables) + 1)
