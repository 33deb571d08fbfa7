"""Exported ResNet-26s, plain and with parallel residual adapters, and what runs their files.

A process writes the files and what they must answer, on TensorFlow. Each runtime then reads its
own, in a process without Keras.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

CASES = ("plain", "fused", "one of all domains", "all domains")
# Endings of the files, and what must be installed to read them, or else what to install.
SUFFIXES = {"tf_saved_model": "", "onnx": ".onnx", "litert": ".tflite"}
RUNTIMES = {
    "tf_saved_model": (("tensorflow",), "'keras_univrep[export]'"),
    "onnx": (("onnxruntime",), "'keras_univrep[export,dev]'"),
    "litert": (("ai_edge_litert", "tensorflow"), "'keras_univrep[export]'"),
}
FILES = ("plain", "fused", "all")
CLASSES = 100


def installed(format: str) -> bool:
    """Whether a file of this format can be run here."""
    return any(importlib.util.find_spec(name) for name in RUNTIMES[format][0])


def make_images(settings: dict[str, Any]) -> np.ndarray:
    """Images (batch, height, width, 3)."""
    rng = np.random.default_rng(settings["seed"])
    shape = (settings["batch_size"], settings["size"], settings["size"], 3)
    return rng.normal(size=shape).astype("float32")


# ---- the process that writes --------------------------------------------------------------------


def write_files(settings: dict[str, Any]) -> None:
    """Writes every file, the answers of the networks and the bytes of all that is stored."""
    from keras import ops

    from keras_univrep.conversion import export

    folder, images = pathlib.Path(settings["folder"]), make_images(settings)
    adapted, plain = networks(settings)
    first = adapted.domains[0]
    logits = {name: ops.convert_to_numpy(adapted(images, domain=name)) for name in adapted.domains}
    np.savez(
        folder / "expected.npz",
        **{
            "plain": ops.convert_to_numpy(plain(images, domain=first)),
            "fused": logits[first],
            "one of all domains": logits[first],
            "all domains": np.concatenate([logits[name].ravel() for name in sorted(logits)]),
        },
    )
    size = (settings["size"], settings["size"])
    asked = {
        "plain": (plain, {}),
        "fused": (adapted, {"domains": [first], "fused": True}),
        "all": (adapted, {}),
    }
    sizes = {"domains": len(adapted.domains), "weights": 4 * adapted.count_params()}
    for format in settings["formats"]:
        for file, (model, options) in asked.items():
            path = path_of(settings, format, file)
            export(model, path, format, image_size=size, **options)
            sizes[f"{format}/{file}"] = bytes_of([path])
        if format == "tf_saved_model":
            parts = path_of(settings, format, "all").glob("variables/*")
            sizes[f"{format}/all, its weights"] = bytes_of(parts)
    (folder / "sizes.json").write_text(json.dumps({"first": first, "sizes": sizes}))


def networks(settings: dict[str, Any]) -> tuple[Any, Any]:
    """The network with adapters, and the same trunk with one domain and none."""
    from keras_univrep.applications import UniversalResNet26, find_entry

    if settings["weights"]:
        entry = find_entry(settings["weights"])
        adapted = UniversalResNet26(settings["weights"])
        architecture = dict(entry.architecture)
    else:
        counts = {f"domain{number}": CLASSES for number in range(settings["domains"])}
        architecture = {"width": settings["width"], "adapter": "parallel", "frozen_trunk": True}
        adapted = UniversalResNet26(None, counts, **architecture)
        draw_weights(adapted, settings["seed"] + 1)
    first = adapted.domains[0]
    kept = {"width": architecture.get("width", 1.0)}
    plain = UniversalResNet26(None, {first: adapted.num_classes[first]}, **kept)
    draw_weights(plain, settings["seed"] + 2)
    return adapted, plain


def draw_weights(model: Any, seed: int) -> None:
    """Weights as after a training: normalisations do something, and features do not grow."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape, role = tuple(variable.shape), variable.path.rsplit("/", 1)[-1]
        if len(shape) > 1:
            value = rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
        elif role in ("gamma", "moving_variance"):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = 0.1 * rng.normal(size=shape)
        variable.assign(value.astype("float32"))


def path_of(settings: dict[str, Any], format: str, file: str) -> pathlib.Path:
    """Where a file is."""
    return pathlib.Path(settings["folder"]) / f"{file}{SUFFIXES[format]}"


def bytes_of(paths: Iterable[pathlib.Path]) -> int:
    """Bytes of files, and of files in folders."""
    paths = [*paths]
    files = [file for path in paths if path.is_dir() for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in [*files, *(p for p in paths if p.is_file())])


# ---- the processes that read --------------------------------------------------------------------


def cases(settings: dict[str, Any], worker: str) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case of a format as a function that reads the file and returns its step.

    A step runs the file so often as `settings["calls"]` says, and returns the last logits. The
    worker that is no format gives what the networks answered before they were written.
    """
    folder = pathlib.Path(settings["folder"])
    if worker not in SUFFIXES:
        expected = np.load(folder / "expected.npz")
        return {case: lambda case=case: lambda: expected[case] for case in CASES}
    threads = int(os.environ["OMP_NUM_THREADS"])
    first = json.loads((folder / "sizes.json").read_text())["first"]
    images = make_images(settings)

    def step(case: str) -> Callable[[], Any]:
        file = "all" if case.endswith("all domains") else case
        run = _OPEN[worker](path_of(settings, worker, file), threads)
        name = None if case == "all domains" else first

        def steps() -> Any:
            for _ in range(settings["calls"]):
                answers = run(images, name)
            return np.concatenate([np.ravel(answers[key]) for key in sorted(answers)])

        return steps

    return {case: lambda case=case: step(case) for case in CASES}


Run = Callable[[np.ndarray, str | None], dict[str, np.ndarray]]


def _open_saved_model(path: pathlib.Path, threads: int) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def run(images: np.ndarray, name: str | None) -> dict[str, np.ndarray]:
        answers = loaded.signatures[name or "serving_default"](images=tf.constant(images))
        wanted = answers if name is None else {"logits": answers["logits"]}
        return {key: value.numpy() for key, value in wanted.items()}

    return run


def _open_onnx(path: pathlib.Path, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    every = [output.name for output in session.get_outputs()]

    def run(images: np.ndarray, name: str | None) -> dict[str, np.ndarray]:
        # All outputs are computed whichever are asked for, and so is that of one domain.
        names = every if name is None else [name]
        return dict(zip(names, session.run(names, {"images": images}), strict=True))

    return run


def _open_litert(path: pathlib.Path, threads: int) -> Run:
    if importlib.util.find_spec("ai_edge_litert"):
        from ai_edge_litert.interpreter import Interpreter
    else:
        from tensorflow.lite.python.interpreter import Interpreter

    runners: dict[str, Any] = {}
    interpreter = Interpreter(str(path), num_threads=threads)

    def run(images: np.ndarray, name: str | None) -> dict[str, np.ndarray]:
        key = name or "serving_default"
        if key not in runners:
            runners[key] = interpreter.get_signature_runner(key)
        answers = runners[key](images=images)
        return answers if name is None else {"logits": answers["logits"]}

    return run


_OPEN = {"tf_saved_model": _open_saved_model, "onnx": _open_onnx, "litert": _open_litert}
