"""Compares this library with plain PyTorch: the same cases, in processes that take turns.

A benchmark brings two functions, `our_cases(settings)` and `peer_cases(settings, channels_last)`.
Both return cases by name, each a function without arguments that builds its networks and returns
one step. A step returns its loss if the name of its case has "train" in it, else its logits.
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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

import numpy as np
from absl import flags

OURS = ("tensorflow", "jax", "torch")
PEERS = ("peer", "peer_channels_last")
WARM_UP = 3
# What `backend.keep_memory` asks of the C library, for the peers as well.
KEPT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
    "MALLOC_TOP_PAD_": str(2**26),
}
# Threads that wait for work spin for a while, on the cores that the next worker is to have.
PAUSE = 0.05

SMOKE = flags.DEFINE_boolean("smoke", False, "Small networks, one round, one core.")
SEED = flags.DEFINE_integer("seed", 0, "Of weights and images.")
BACKENDS = flags.DEFINE_list("backends", list(OURS), "Backends of this library; peers always run.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Interleaved rounds; each case runs once in each.")
_FRESH_ROUNDS = flags.DEFINE_integer(
    "fresh_rounds", 3, "Processes for each case alone: first call and peak memory."
)
_THREADS = flags.DEFINE_list("threads", ["1", "2"], "1: one core, CPU time; more: wall time.")
_KEEP_MEMORY = flags.DEFINE_boolean(
    "keep_memory", False, "All workers keep the memory that they free (glibc), peers too."
)
_WORKER = flags.DEFINE_string("worker", None, "Internal: name of the worker to be.")
_SETTINGS = flags.DEFINE_string("settings", None, "Internal: settings of the worker, as JSON.")
flags.register_validator(
    "backends", lambda names: names and set(names) <= set(OURS), f"Some of {list(OURS)}."
)

Values = dict[str, dict[str, list[float]]]  # By worker and case.
Row = tuple[str, str, Sequence[float], Sequence[float]]  # Worker, name, dividends, divisors.
Cases = Mapping[str, Callable[[], Callable[[], Any]]]


def is_worker() -> bool:
    """Whether this process is one of those that are measured."""
    return _WORKER.value is not None


def common_settings() -> dict[str, Any]:
    """What every benchmark lets one choose."""
    return {
        "rounds": min(1, _ROUNDS.value) if SMOKE.value else _ROUNDS.value,
        "fresh_rounds": min(1, _FRESH_ROUNDS.value) if SMOKE.value else _FRESH_ROUNDS.value,
        "seed": SEED.value,
        "keep_memory": _KEEP_MEMORY.value,
    }


def modes() -> dict[str, int]:
    """Numbers of threads, by what the tables call them; none without rounds."""
    if not _ROUNDS.value:
        return {}
    words = {1: "one core, CPU time", 2: "two threads, wall time"}
    counts = [1] if SMOKE.value else [int(count) for count in _THREADS.value]
    return {words.get(count, f"{count} threads, wall time"): count for count in counts}


def workers() -> tuple[str, ...]:
    """Names of the processes that are compared."""
    return (*BACKENDS.value, *PEERS)


# ---- a worker: builds its cases, then runs the one it is told -----------------------------------


def work(
    our_cases: Callable[[dict[str, Any]], Cases],
    peer_cases: Callable[[dict[str, Any], bool], Cases],
) -> None:
    """Answers case names on standard input with [CPU seconds, wall seconds]."""
    worker, settings = _WORKER.value, json.loads(_SETTINGS.value)
    answers: TextIO = os.fdopen(os.dup(1), "w")
    # Whatever a framework prints must not mix with the answers.
    os.dup2(2, 1)
    found = our_cases(settings) if worker in OURS else peer_cases(settings, worker == PEERS[1])
    imported = _resident("VmRSS")
    steps, values, first = {}, {}, {}
    for name in settings["cases"]:
        start = time.perf_counter()
        steps[name] = found[name]()
        cpu, wall = time.process_time(), time.perf_counter()
        results = [steps[name]()]
        first[name] = [time.process_time() - cpu, time.perf_counter() - wall]
        results += [steps[name]() for _ in range(WARM_UP - 1)]
        results = results if "train" in name else results[:1]
        values[name] = np.asarray(results, "float64").ravel().tolist()
        sys.stderr.write(f"{worker}: {name} ready after {time.perf_counter() - start:.0f} s\n")
    memory = {"imported": imported, "peak": _resident("VmHWM")}
    answers.write(json.dumps({"values": values, "first": first, "memory": memory}) + "\n")
    answers.flush()
    for line in sys.stdin:
        step = steps[line.strip()]
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(settings.get("calls", 1)):
            step()
        answers.write(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]) + "\n")
        answers.flush()


def _resident(field: str) -> int:
    """Kilobytes of memory of this process, now (VmRSS) or at most so far (VmHWM).

    Not `ru_maxrss`, which starts from what the parent process held.
    """
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def _start(
    script: str, worker: str, settings: dict[str, Any], threads: int, number: int = 0
) -> subprocess.Popen:
    """Starts a worker that may use so many cores."""
    environment = {
        **os.environ,
        **(KEPT if settings.get("keep_memory") else {}),
        "KERAS_BACKEND": worker if worker in OURS else "torch",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(threads),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "PYTHONPATH": str(pathlib.Path(__file__).resolve().parents[1]),
    }
    command = [sys.executable, script, f"--worker={worker}", "--settings", json.dumps(settings)]
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


def _answer(worker: str, process: subprocess.Popen) -> Any:
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"The worker {worker!r} ended; its error stands above.")
    return json.loads(line)


def _end(process: subprocess.Popen) -> None:
    process.stdin.close()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:  # Still compiling, after another worker has failed.
        process.kill()
        process.wait()


# ---- measuring ----------------------------------------------------------------------------------


def measure(
    script: str,
    settings: dict[str, Any],
    cases: Mapping[str, Sequence[str]],
    threads: int,
    same: Mapping[str, str] | None = None,
) -> Values:
    """Times every case in every round: CPU time on one core, else wall time.

    Args:
        script: The benchmark, which is started again as each of the workers.
        settings: Settings of the cases. Read here are `rounds`; `calls`, the steps that are timed
            together, 1 by default and more for steps of few milliseconds; and `limits`: by case,
            the largest relative difference of logits or first losses, 1e-4 where it is not named.
        cases: Names of the cases of each worker.
        threads: Cores and threads of each worker.
        same: Cases that the peers do not have, and the case of the peers with the same values.

    Returns:
        Seconds by worker and case, one a round.

    Raises:
        RuntimeError: If the workers do not compute the same, or one of them ends.
    """
    processes = {
        worker: _start(script, worker, {**settings, "cases": list(names)}, threads, number)
        for number, (worker, names) in enumerate(cases.items())
    }
    try:
        first = {name: _answer(name, process)["values"] for name, process in processes.items()}
        check_equal(first, same or {}, settings.get("limits", {}))
        seconds: Values = {name: {case: [] for case in names} for name, names in cases.items()}
        order = list(processes)
        for _ in range(settings["rounds"]):
            for case in _union(cases):
                for name in order:
                    if case in seconds[name]:
                        time.sleep(PAUSE)
                        processes[name].stdin.write(case + "\n")
                        processes[name].stdin.flush()
                        answer = _answer(name, processes[name])
                        seconds[name][case].append(answer[0 if threads == 1 else 1])
            # Nobody comes always after the same neighbour.
            order = order[1:] + order[:1]
    finally:
        for process in processes.values():
            _end(process)
    return seconds


def measure_fresh(
    script: str,
    settings: dict[str, Any],
    cases: Mapping[str, Sequence[str]],
    same: Mapping[str, str] | None = None,
) -> dict[str, Values]:
    """Runs every case alone in new processes on one core: three steps in each.

    Args:
        script: As for `measure`.
        settings: Settings of the cases; `fresh_rounds` is read here.
        cases: As for `measure`.
        same: As for `measure`.

    Returns:
        By worker and case, one number a round: CPU seconds of the `"first call"`, kilobytes of
        `"peak memory"`, and what of these the imports did not take (`"memory beyond imports"`).
        Empty without rounds.

    Raises:
        RuntimeError: As for `measure`.
    """
    if not settings["fresh_rounds"]:
        return {}
    kinds = ("first call", "peak memory", "memory beyond imports")
    found: dict[str, Values] = {
        kind: {name: {case: [] for case in names} for name, names in cases.items()}
        for kind in kinds
    }
    values: Values = {name: {} for name in cases}
    for _ in range(settings["fresh_rounds"]):
        for case in _union(cases):
            for name in cases:
                if case not in cases[name]:
                    continue
                process = _start(script, name, {**settings, "cases": [case]}, 1)
                try:
                    answer = _answer(name, process)
                finally:
                    _end(process)
                values[name].update(answer["values"])
                memory = answer["memory"]
                numbers = (answer["first"][case][0], memory["peak"])
                for kind, number in zip(kinds, (*numbers, memory["peak"] - memory["imported"])):
                    found[kind][name][case].append(number)
    check_equal(values, same or {}, settings.get("limits", {}))
    return found


def check_equal(
    first: Mapping[str, Mapping[str, Any]], same: Mapping[str, str], looser: Mapping[str, float]
) -> None:
    """Raises unless all workers computed the same losses and logits."""
    for worker, cases in first.items():
        for case, values in cases.items():
            expected = np.array(first[PEERS[0]][same.get(case, case)])
            # Rounding grows with every update: the losses after the first are a looser check.
            limit = looser.get(case, 1e-4)
            limits = np.array([limit, 1e-2, 1e-2]) if "train" in case else limit
            errors = np.abs(np.array(values) - expected) / np.abs(expected).max()
            if not np.all(errors < limits):
                raise RuntimeError(
                    f"{worker}, {case!r}: differs from the peer by {errors.max()} of its largest."
                )


def _union(cases: Mapping[str, Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(case for names in cases.values() for case in names))


# ---- the table ----------------------------------------------------------------------------------


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    """Median, minimum and maximum of the ratios of the rounds."""
    values = [a / b for a, b in zip(above, below, strict=True)]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def report(mode: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Prints a line for each row and returns them for `results.json`."""
    found = [{"method": w, "ratio": name, **ratio(a, b), "mode": mode} for w, name, a, b in rows]
    length = max([44, *(len(row["ratio"]) for row in found)])
    for row in found:
        values = f"{row['median']:6.2f}  {row['min']:6.2f} .. {row['max']:.2f}"
        print(f"{mode:24} {row['method']:20} {row['ratio']:{length}} {values}", flush=True)
    return found


def cost_rows(values: Values, same: Mapping[str, str] | None = None) -> list[Row]:
    """What each case costs this library, relative to the peers."""
    rows: list[Row] = []
    for worker, cases in values.items():
        for peer in PEERS if worker in OURS else ():
            for case, ours in cases.items():
                theirs = values[peer][(same or {}).get(case, case)]
                rows.append((worker, f"ours / {peer}, {case}", ours, theirs))
    return rows


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


def write(folder: str, rows: list[dict[str, Any]], settings: dict[str, Any], start: float) -> None:
    """Writes `results.json`; `start` is when the benchmark began (`time.perf_counter`)."""
    os.environ["KERAS_BACKEND"] = BACKENDS.value[0]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Only now: while it measures, this process should be small and idle.
    from keras_univrep.evaluation import write_results

    write_results(
        pathlib.Path(folder) / "results.json",
        rows,
        SEED.value,
        time.perf_counter() - start,
        settings=settings,
        versions=versions(),
        load=os.getloadavg(),
        backend=list(BACKENDS.value),
    )
