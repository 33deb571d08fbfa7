"""Reads images and their maps through TensorFlow Datasets."""

import pathlib
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_univrep.datasets.tensorflow_loader import load_tensorflow
from keras_univrep.types import Tensor


def read_tfds(
    builder_name: str,
    split: str,
    data_dir: str | pathlib.Path | None,
    convert: Callable[[types.ModuleType, dict[str, Tensor]], dict[str, Tensor]],
    encoded: tuple[str, ...] = (),
) -> dict[str, np.ndarray]:
    """Reads a split of a prepared builder into memory.

    Args:
        builder_name: Name of the builder, with its configuration.
        split: Split, or an expression such as "train[:100]".
        data_dir: Folder of TensorFlow Datasets; None for its default.
        convert: Function of TensorFlow and an example that gives what to keep, by name.
        encoded: Image features to hand to `convert` as they are in their file.

    Returns:
        Dict of name to the values of all examples, (n, ...), in the order of the stored files.

    Raises:
        FileNotFoundError: If the builder has not been prepared in `data_dir`.
        ValueError: If the split is empty.
        ImportError: If TensorFlow or TensorFlow Datasets is not installed.
    """
    tf = load_tensorflow()
    tfds = _load_tensorflow_datasets()
    builder = tfds.builder(builder_name, data_dir=data_dir)
    decoders = {name: tfds.decode.SkipDecoding() for name in encoded}
    try:
        source = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)
    except AssertionError as error:
        raise FileNotFoundError(
            f"'{builder_name}' must have been prepared in `data_dir`. Received: "
            f"data_dir={str(builder.data_dir)!r}, which does not hold it. Run `import "
            f"tensorflow_datasets as tfds; tfds.builder({builder_name!r}).download_and_prepare()` "
            "once, or pass the folder of TensorFlow Datasets that holds it."
        ) from error
    examples = source.map(lambda example: convert(tf, example), num_parallel_calls=tf.data.AUTOTUNE)
    rows: list[Mapping[str, Any]] = list(examples.as_numpy_iterator())
    if not rows:
        raise ValueError(
            f"`splits` must name splits of '{builder_name}' that hold an image. Received: "
            f"{split!r}, which is empty. Pass a larger part."
        )
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def resize_image(tf: types.ModuleType, image: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Resizes a uint8 image bilinearly with antialiasing, to whole levels; uint8."""
    values = tf.image.resize(image, image_size, method="bilinear", antialias=True)
    return tf.cast(tf.round(values), tf.uint8)


def resize_map(tf: types.ModuleType, values: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Resizes a map (height, width, channels) by taking the nearest pixel."""
    return tf.image.resize(values, image_size, method="nearest")


def _load_tensorflow_datasets() -> types.ModuleType:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "`layout='tfds'` reads with TensorFlow Datasets. Received: an installation without "
            "it. Run `pip install keras_univrep[data]`."
        ) from error
    return tfds
