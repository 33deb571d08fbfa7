"""Cost of a distillation step against the number of teachers, beside plain PyTorch.

    python benchmarks/distillation_step.py --output_dir=runs/bench

Five processes take turns, case by case: this library on TensorFlow, JAX and PyTorch, and the same
step written straight in PyTorch, as published (channels first) and in its faster form (channels
last). All start from the same weights, and the run fails unless their losses agree. Ratios,
`results.json`: see `benchmarks/README.md`.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time
from typing import Any, TextIO

import numpy as np
from absl import app, flags
from distillation_cases import our_cases, peer_cases

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/bench", "Where results.json goes.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Interleaved rounds; each case runs once in each.")
_BATCH = flags.DEFINE_integer("batch_size", 16, "Images of each of the domains in a step.")
_SMOKE = flags.DEFINE_boolean("smoke", False, "Small networks, two domains, one round.")
_SEED = flags.DEFINE_integer("seed", 0, "Of weights and images.")
_WORKER = flags.DEFINE_string("worker", None, "Internal: name of the worker to be.")
_SETTINGS = flags.DEFINE_string("settings", None, "Internal: settings of the worker, as JSON.")

OURS = ("tensorflow", "jax", "torch")
PEERS = ("peer", "peer_channels_last")
MODES = {"one core, CPU time": 1, "two threads, wall time": 2}
WARM_UP = 3


# ---- a worker: builds the cases, then runs the one it is told -----------------------------------


def work(worker: str, settings: dict[str, Any]) -> None:
    """Answers case names on standard input with [CPU seconds, wall seconds]."""
    answers: TextIO = os.fdopen(os.dup(1), "w")
    # Whatever a framework prints must not mix with the answers.
    os.dup2(2, 1)
    found = our_cases(settings) if worker in OURS else peer_cases(settings, worker == PEERS[1])
    steps, first = {}, {}
    for name, make in found.items():
        start = time.perf_counter()
        steps[name] = make()
        values = [steps[name]() for _ in range(WARM_UP)]
        first[name] = np.asarray(values[0] if "train" not in name else values).ravel().tolist()
        seconds = time.perf_counter() - start
        sys.stderr.write(f"{worker}: {name} ready after {seconds:.0f} s\n")
    answers.write(json.dumps(first) + "\n")
    answers.flush()
    for line in sys.stdin:
        step = steps[line.strip()]
        cpu, wall = time.process_time(), time.perf_counter()
        step()
        answers.write(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]) + "\n")
        answers.flush()


def start_worker(
    worker: str, settings: dict[str, Any], threads: int, number: int
) -> subprocess.Popen:
    """Starts a worker that may use so many cores."""
    environment = {
        **os.environ,
        "KERAS_BACKEND": worker if worker in OURS else "torch",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONPATH": str(pathlib.Path(__file__).resolve().parents[1]),
    }
    command = [sys.executable, __file__, f"--worker={worker}", "--settings", json.dumps(settings)]
    cores = sorted(os.sched_getaffinity(0))
    # Not all on one core: they compile side by side, though they are measured one by one.
    first = number % max(1, len(cores) - threads + 1)
    # Inherited, so that a framework sees its cores from its first line on.
    os.sched_setaffinity(0, cores[first : first + threads])
    try:
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
    finally:
        os.sched_setaffinity(0, cores)


def measure(settings: dict[str, Any], threads: int) -> dict[str, dict[str, list[float]]]:
    """Seconds by worker and case, one a round: CPU time on one core, else wall time."""
    processes = {
        name: start_worker(name, settings, threads, number)
        for number, name in enumerate((*OURS, *PEERS))
    }
    try:
        first = {name: _answer(name, process) for name, process in processes.items()}
        check_equal(first)
        seconds: dict[str, dict[str, list[float]]] = {
            name: {case: [] for case in cases} for name, cases in first.items()
        }
        for _ in range(settings["rounds"]):
            for case in first[OURS[0]]:
                for name, process in processes.items():
                    if case in first[name]:
                        process.stdin.write(case + "\n")
                        process.stdin.flush()
                        seconds[name][case].append(_answer(name, process)[threads - 1])
    finally:
        for process in processes.values():
            process.stdin.close()
            process.wait(timeout=60)
    return seconds


def _answer(worker: str, process: subprocess.Popen) -> Any:
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"The worker {worker!r} ended; its error stands above.")
    return json.loads(line)


def check_equal(first: dict[str, dict[str, list[float]]]) -> None:
    """Raises unless all workers computed the same losses and logits."""
    for case, expected in first[PEERS[0]].items():
        scale = np.abs(expected).max()
        # Rounding grows with every update, so the losses after the first one are a looser check.
        limits = np.array([1e-4, 1e-2, 1e-2]) if "train" in case else 1e-4
        for worker, values in first.items():
            errors = np.abs(np.array(values[case]) - expected) / scale
            if not np.all(errors < limits):
                raise RuntimeError(f"{worker}, {case!r}: differs from the peer by {errors}.")


# ---- the table ----------------------------------------------------------------------------------


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """Median, minimum and maximum of the ratios of the rounds."""
    values = [a / b for a, b in zip(above, below, strict=True)]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def table(seconds: dict[str, dict[str, list[float]]], settings: dict[str, Any]) -> list[dict]:
    """One row for each worker and ratio."""
    most, rows = max(settings["teachers"]), []
    for worker, cases in seconds.items():
        none, full = cases["train 0"], cases[f"train {most}"]
        for count in settings["teachers"]:
            rows.append((worker, f"{count} teachers / none", cases[f"train {count}"], none))
        slope = [(a - b) / most for a, b in zip(full, none)]
        rows.append((worker, "one more teacher / its forward", slope, cases["teacher forward"]))
        one, many = cases["infer, 1 domains"], cases[f"infer, {most} domains"]
        rows.append((worker, f"inference, {most} domains / 1", many, one))
        if worker in PEERS:
            continue
        one, many = cases["infer, 1 teachers"], cases[f"infer, {most} teachers"]
        rows.append((worker, f"inference, {most} teachers / 1", many, one))
        for peer in PEERS:
            for count in (0, *settings["teachers"]):
                case = f"train {count}"
                rows.append(
                    (worker, f"{peer} / ours, {count} teachers", seconds[peer][case], cases[case])
                )
            case = f"infer, {most} domains"
            rows.append((worker, f"{peer} / ours, inference", seconds[peer][case], cases[case]))
    return [{"method": w, "ratio": name, **ratio(a, b)} for w, name, a, b in rows]


def versions() -> dict[str, str]:
    """Of everything that is measured."""
    packages = ("keras", "tensorflow-cpu", "tensorflow", "jax", "torch", "numpy")
    found = {"python": platform.python_version(), "cores": str(len(os.sched_getaffinity(0)))}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def main(argv: list[str]) -> None:
    """Runs a worker, or all of them."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    if _WORKER.value:
        work(_WORKER.value, json.loads(_SETTINGS.value))
        return
    start = time.perf_counter()
    settings: dict[str, Any] = {
        "teachers": [2] if _SMOKE.value else [1, 2, 4, 8],
        "width": 0.125 if _SMOKE.value else 0.25,
        "size": 16 if _SMOKE.value else 32,
        "batch_size": 8 if _SMOKE.value else _BATCH.value,
        "rounds": 1 if _SMOKE.value else _ROUNDS.value,
        "seed": _SEED.value,
    }
    rows = []
    print("versions:", versions(), "load:", os.getloadavg())
    for mode, threads in list(MODES.items())[: 1 if _SMOKE.value else None]:
        for row in table(measure(settings, threads), settings):
            rows.append({**row, "mode": mode})
            values = f"{row['median']:6.2f}  {row['min']:6.2f} .. {row['max']:.2f}"
            print(f"{mode:24} {row['method']:20} {row['ratio']:44} {values}")
    folder = pathlib.Path(_OUTPUT_DIR.value)
    folder.mkdir(parents=True, exist_ok=True)
    results = {
        "table": rows,
        "settings": settings,
        "seed": _SEED.value,
        "versions": versions(),
        "load": os.getloadavg(),
        "backend": list(OURS),
        "seconds": time.perf_counter() - start,
    }
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    app.run(main)
