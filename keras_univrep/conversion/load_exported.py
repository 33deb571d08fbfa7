"""Reads what `export` wrote, to run it."""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class _Signature:
    """One function of an exported network: images to arrays by name."""

    input_name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype
    outputs: tuple[str, ...]
    run: Callable[[np.ndarray], dict[str, np.ndarray]] = dataclasses.field(repr=False)

    def __call__(self, images: Any) -> dict[str, np.ndarray]:
        images = np.asarray(images)
        if self.dtype.kind == "u" and images.dtype.kind in "iu" and images.size:
            if images.min() < 0 or images.max() > 255:
                raise ValueError(
                    f"`{self.input_name}` must be in [0, 255]. Received: values from "
                    f"{images.min()} to {images.max()}. Clip them."
                )
        elif self.dtype.kind == "u" and images.dtype.kind not in "iu":
            raise ValueError(
                f"`{self.input_name}` must be integers in [0, 255]. Received: {images.dtype}. "
                "The exported network normalises them itself."
            )
        fits = len(images.shape) == len(self.shape) and all(
            known is None or known == size for known, size in zip(self.shape, images.shape)
        )
        if not fits or images.dtype.kind not in "iuf":
            raise ValueError(
                f"`{self.input_name}` must be numbers of shape {self.shape}. Received: "
                f"{images.dtype} of shape {images.shape}. Stack the images of a batch."
            )
        return self.run(images.astype(self.dtype))


def load_exported(path: str | os.PathLike) -> dict[str, _Signature]:
    """Reads a SavedModel that `export` wrote, without Keras.

    Args:
        path: The folder.

    Returns:
        The signatures by name. Each is a function of images, (batch, height, width, channels), that
        returns arrays by name; its `shape`, `dtype` and `outputs` say what it takes and returns.

    Raises:
        FileNotFoundError: If there is no SavedModel at the path.
        ImportError: If TensorFlow is not installed.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from keras_univrep.applications import UniversalResNet26
        >>> from keras_univrep.conversion import export, load_exported
        >>> model = UniversalResNet26(weights="five_domains", domains=["eurosat"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     signatures = load_exported(export(model, f"{folder}/served"))
        ...     signatures["eurosat"](np.zeros((2, 32, 32, 3)))["logits"].shape
        (2, 10)
    """
    path = pathlib.Path(path)
    if not (path / "saved_model.pb").is_file():
        raise FileNotFoundError(
            f"`path` must be the folder of a SavedModel. Received: '{path}', which has no "
            "saved_model.pb. Write one with `conversion.export(model, path)`."
        )
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            "SavedModels run on TensorFlow. Received: an installation without it. "
            "Run `pip install 'keras_univrep[export]'`."
        ) from error
    loaded = tf.saved_model.load(str(path))
    return {name: _signature(function, loaded) for name, function in loaded.signatures.items()}


def _signature(function: Any, loaded: Any) -> _Signature:
    (name, spec), *_ = function.structured_input_signature[1].items()

    # `loaded` is kept: its variables go with it.
    def run(images: np.ndarray, loaded: Any = loaded) -> dict[str, np.ndarray]:
        import tensorflow as tf

        answers = function(**{name: tf.constant(images)})
        return {key: np.asarray(value) for key, value in answers.items()}

    return _Signature(
        name, tuple(spec.shape), np.dtype(spec.dtype.as_numpy_dtype),
        tuple(function.structured_outputs), run,
    )  # fmt: skip
