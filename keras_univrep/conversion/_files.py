"""Writes exported files; runs on TensorFlow."""

import functools
import importlib
import json
import pathlib
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import keras

from keras_univrep.conversion._endpoints import DEFAULT, LOGITS, endpoints
from keras_univrep.conversion._onnx import write_onnx
from keras_univrep.conversion._slim import slim
from keras_univrep.types import Tensor

SUFFIXES = {"tf_saved_model": "", "onnx": ".onnx", "litert": ".tflite"}


def write(model: keras.Model, path: pathlib.Path, format: str, options: Mapping[str, Any]) -> None:
    """Writes a model; what was at `path` is replaced when all is written."""
    models = endpoints(model, **options)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        partial = pathlib.Path(folder) / f"model{SUFFIXES[format]}"
        _WRITERS[format](models, partial)
        # A folder is replaced by nothing but a rename, and comes back where that fails.
        old = pathlib.Path(folder) / "old"
        if path.is_dir():
            path.rename(old)
        try:
            partial.replace(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise


def _write_saved_model(models: Mapping[str, keras.Model], path: pathlib.Path) -> None:
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    functions: dict[str, Any] = {}
    for name, model in models.items():
        fn = functools.partial(model, training=False)
        if set(functions) and all(models[part] in model.layers for part in functions):
            # Only calls the others, which are not to be written again.
            fn = functools.partial(_logits, dict(functions))
        functions[name] = archive.add_endpoint(name, fn, [_spec(model)])
    # Nobody trains through the file; gradients are a fifth of it.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    archive.write_out(str(path), options=options, verbose=False)
    slim(path)


def _logits(functions: Mapping[str, Any], images: Tensor) -> dict[str, Tensor]:
    return {name: function(images)[LOGITS] for name, function in functions.items()}


def _write_onnx(models: Mapping[str, keras.Model], path: pathlib.Path) -> None:
    write_onnx(models[DEFAULT], path)


def _write_litert(models: Mapping[str, keras.Model], path: pathlib.Path) -> None:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        _write_saved_model(models, pathlib.Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(models))
        path.write_bytes(converter.convert())


_WRITERS = {
    "tf_saved_model": _write_saved_model,
    "onnx": _write_onnx,
    "litert": _write_litert,
}


def _spec(model: keras.Model) -> keras.InputSpec:
    images = model.inputs[0]
    return keras.InputSpec(shape=images.shape, dtype=images.dtype, name="images")


def main(request: str) -> None:
    """Writes what a process of another backend asks for, in JSON."""
    asked = json.loads(pathlib.Path(request).read_text())
    for name in asked["modules"]:
        importlib.import_module(name)
    model = keras.saving.load_model(asked["model"], compile=False)
    write(model, pathlib.Path(asked["path"]), asked["format"], asked["options"])


if __name__ == "__main__":
    main(sys.argv[1])
