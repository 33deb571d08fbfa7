"""Weights as a file that constructors read."""

import pathlib

import h5py
import keras
import numpy as np

from keras_univrep.applications._whole_file import whole_file
from keras_univrep.models._room import bytes_of, reserve


def save_weights(model: keras.Model, path: str | pathlib.Path, half: bool = False) -> pathlib.Path:
    """Writes a network's weights to a `.weights.h5` file, which is there whole or not at all.

    Args:
        model: The network.
        path: Where to write; an existing file is replaced.
        half: Whether kernels are stored as float16, for half of the bytes. Biases, normalisations
            and everything else of one axis keep their precision: variances may be very small.
            `load_weights` gives kernels back in the network's own dtype.

    Returns:
        The path.

    Raises:
        ValueError: If the path does not end with `.weights.h5`, or a kernel is too large for
            float16.
        OSError: If it cannot be written; what was at the path before is still there then.

    Example:
        >>> import tempfile
        >>> from keras_univrep.applications import UniversalResNet26, save_weights
        >>> model = UniversalResNet26(None, {"photo": 4}, width=0.125)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_weights(model, f"{folder}/own.weights.h5", half=True).name
        'own.weights.h5'
    """
    path = pathlib.Path(path)
    if not path.name.endswith(".weights.h5"):
        raise ValueError(
            f"`path` must end with '.weights.h5'. Received: {str(path)!r}. Add it to the name."
        )
    with whole_file(path) as part:
        # Twice, as a file of half precision is made of a whole one.
        reserve(part.with_name("reserved"), bytes_of(model) * (2 if half else 1))
        if half:
            full = part.with_name("full.weights.h5")
            model.save_weights(full)
            _halve(full, part)
        else:
            model.save_weights(part)
    return path


def _halve(path: pathlib.Path, target: pathlib.Path) -> None:
    with h5py.File(path) as source, h5py.File(target, "w") as copy:
        copy.attrs.update(source.attrs)

        def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                copy.require_group(name).attrs.update(item.attrs)
                return
            copy.create_dataset(name, data=_half(name, item[()])).attrs.update(item.attrs)

        source.visititems(visit)


def _half(name: str, values: np.ndarray) -> np.ndarray:
    if values.dtype != np.float32 or values.ndim < 2:
        return values
    limit = float(np.finfo("float16").max)
    if not np.abs(values).max(initial=0.0) <= limit:
        raise ValueError(
            f"Kernels must be finite and at most {limit} to be stored in half precision. Received: "
            f"{np.abs(values).max()} in {name!r}. Pass half=False."
        )
    return values.astype("float16")
