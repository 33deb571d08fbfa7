"""Latency and size of exported ResNet-26s with adapters, beside the plain one exported alike.

    python benchmarks/export.py --output_dir=runs/bench_export
    python benchmarks/export.py --weights=vdd --image_size=32 --output_dir=runs/bench_export_vdd

`conversion.export` writes three networks in each format: a plain ResNet-26 with one classifier, the
adapted one fused for one domain, and the adapted one with all its domains. TensorFlow, ONNX Runtime
and the LiteRT interpreter then read their files, each in a process of its own without Keras, and
take turns, case by case; what is not installed is left out and named. The run fails unless every
file answers as its network did. Ratios, `results.json`: see `benchmarks/README.md`.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import side_by_side
from absl import app, flags
from export_cases import CASES, FILES, RUNTIMES, SUFFIXES, cases, installed, write_files
from side_by_side import PEERS, SEED, SMOKE, Row, Values

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/bench_export", "Where results.json goes.")
_FORMATS = flags.DEFINE_multi_enum("format", None, list(SUFFIXES), "All that can be run here.")
_WEIGHTS = flags.DEFINE_string("weights", None, "Registered weights; random ones by default.")
_WIDTH = flags.DEFINE_float("width", 1.0, "Factor of all channel numbers, of random weights.")
_DOMAINS = flags.DEFINE_integer("domains", 8, "Domains of the network, of random weights.")
_SIZE = flags.DEFINE_integer("image_size", 64, "Height and width of the images.")
_BATCH = flags.DEFINE_integer("batch_size", 1, "Images of a call.")
_CALLS = flags.DEFINE_integer("calls", 30, "Calls of a case in each round.")
WRITER = "writer"


def speed_rows(seconds: Values) -> list[Row]:
    """What adapters and further domains cost, format by format."""
    return [
        (format, f"{case} / plain", values[case], values["plain"])
        for format, values in seconds.items()
        if format in SUFFIXES
        for case in CASES[1:]
    ]


def file_rows(sizes: Mapping[str, int], formats: list[str]) -> list[Row]:
    """What is on the disk, beside float32 weights and beside one file a domain."""
    rows: list[Row] = []
    whole, domains = [sizes["weights"]], sizes["domains"]
    for format in formats:
        plain, fused, every = ([sizes[f"{format}/{file}"]] for file in FILES)
        rows += [
            (format, "all domains / trunk + adapters in float32", every, whole),
            (format, "all domains / one plain file a domain", every, [domains * plain[0]]),
            (format, "fused / plain", fused, plain),
        ]
        if weights := sizes.get(f"{format}/all, its weights"):
            rows.append((format, "its weights / trunk + adapters in float32", [weights], whole))
    return rows


def make_files(settings: dict[str, Any]) -> dict[str, int]:
    """Writes the files in a process of its own; returns their bytes."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = str(pathlib.Path(__file__).resolve().parents[1])
    subprocess.run(
        [sys.executable, __file__, f"--worker={WRITER}", "--settings", json.dumps(settings)],
        env=environment, check=True,
    )  # fmt: skip
    return json.loads((pathlib.Path(settings["folder"]) / "sizes.json").read_text())["sizes"]


def wanted_formats() -> list[str]:
    """Those that were asked for and can be run here."""
    found = []
    for format in _FORMATS.value or SUFFIXES:
        if not installed(format):
            print(f"{format}: nothing runs it here; pip install {RUNTIMES[format][1]}")
        else:
            found.append(format)
    return found


def main(argv: list[str]) -> None:
    """Runs a worker, or all of them."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    if side_by_side.is_worker():
        worker = flags.FLAGS.worker
        if worker == WRITER:
            write_files(json.loads(flags.FLAGS.settings))
        else:
            side_by_side.work(dict, lambda settings, _: cases(settings, worker))
        return
    start, load = time.perf_counter(), os.getloadavg()
    formats = wanted_formats()
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {
            "folder": folder,
            "formats": formats,
            "weights": _WEIGHTS.value,
            "width": 0.125 if SMOKE.value else _WIDTH.value,
            "domains": 2 if SMOKE.value else _DOMAINS.value,
            "size": 16 if SMOKE.value else _SIZE.value,
            "batch_size": _BATCH.value,
            "calls": 2 if SMOKE.value else _CALLS.value,
            **side_by_side.common_settings(),
        }
        print("versions:", versions(), "load:", load, flush=True)
        sizes = make_files(settings)
        rows = []
        # The first of the peers is what the others are compared with before anything is timed.
        wanted = dict.fromkeys([PEERS[0], *formats], CASES)
        for mode, threads in side_by_side.modes().items():
            seconds = side_by_side.measure(__file__, settings, wanted, threads)
            rows += side_by_side.report(mode, speed_rows(seconds))
        rows += side_by_side.report("bytes on a disk", file_rows(sizes, formats))
    write({**settings, "folder": None}, rows, start, load)


def versions() -> dict[str, str]:
    """Of everything that is measured."""
    found = side_by_side.versions()
    for name in ("onnxruntime", "ai-edge-litert", "tf2onnx"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write(settings: dict[str, Any], rows: list[dict[str, Any]], start: float, load: Any) -> None:
    """Writes `results.json`."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from keras_univrep.evaluation import write_results

    write_results(
        pathlib.Path(_OUTPUT_DIR.value) / "results.json",
        rows,
        SEED.value,
        time.perf_counter() - start,
        settings=settings,
        versions=versions(),
        load=load,
    )


if __name__ == "__main__":
    app.run(main)
