"""Writes exported files; runs on TensorFlow."""

import functools
import importlib
import json
import pathlib
import shutil
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import keras

from keras_univrep.conversion._endpoints import DEFAULT, endpoints

SUFFIXES = {"tf_saved_model": "", "onnx": ".onnx", "litert": ".tflite"}


def write(model: keras.Model, path: pathlib.Path, format: str, options: Mapping[str, Any]) -> None:
    """Writes a model; what was at `path` is replaced when all is written."""
    models = endpoints(model, **options)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        partial = pathlib.Path(folder) / f"model{SUFFIXES[format]}"
        _WRITERS[format](models, partial)
        if path.is_dir():
            shutil.rmtree(path)
        partial.replace(path)


def _write_saved_model(models: Mapping[str, keras.Model], path: pathlib.Path) -> None:
    archive = keras.export.ExportArchive()
    for name, model in models.items():
        archive.add_endpoint(name, functools.partial(model, training=False), [_spec(model)])
    archive.write_out(str(path), verbose=False)


def _write_onnx(models: Mapping[str, keras.Model], path: pathlib.Path) -> None:
    model = models[DEFAULT]
    model.export(str(path), format="onnx", input_signature=[_spec(model)], verbose=False)


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
