"""Cost of a meta-learning step and of adapting to a task, beside plain PyTorch.

    python benchmarks/meta_learning.py --output_dir=runs/bench_meta

Five processes take turns, case by case: this library on TensorFlow, JAX and PyTorch, and
second-order MAML, first-order MAML and ANIL written straight in PyTorch as learn2learn computes
them, task by task with `torch.autograd.grad(create_graph=True)`, channels first and channels last.
All start from the same weights and the run fails unless losses and logits agree. Conv-4 with 32
filters, 5-way 1-shot tasks of 15 queries, 84 pixels, 5 steps to train and 10 to infer. Ratios,
`results.json`: see `benchmarks/README.md`.
"""

from __future__ import annotations

import os
import time
from typing import Any

import side_by_side
from absl import app, flags
from meta_cases import LIMITS, OURS_ONLY, SAME, THEIRS, our_cases, peer_cases
from side_by_side import OURS, PEERS, SMOKE, Row, Values

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/bench_meta", "Where results.json goes.")
_FILTERS = flags.DEFINE_integer("filters", 32, "Of each block.")
_SIZE = flags.DEFINE_integer("image_size", 84, "Height and width.")
_TASKS = flags.DEFINE_integer("tasks", 2, "Tasks of a step.")
_STEPS = flags.DEFINE_integer("steps", 5, "Inner steps of training.")
_TEST_STEPS = flags.DEFINE_integer("test_steps", 10, "Inner steps of inference.")
_SHOTS = flags.DEFINE_integer("shots", 1, "Support images of each of 5 classes.")
_QUERIES = flags.DEFINE_integer("queries", 15, "Query images of each of 5 classes.")
_CASES = flags.DEFINE_list("cases", [*THEIRS, *OURS_ONLY], "Cases to measure.")
# What MAML costs beside what stands in for it.
INSTEAD = ("anil", "modulator")


def table(seconds: Values) -> list[Row]:
    """Beside the peers' same case, and beside MAML, the peers' and our own."""
    rows: list[Row] = []
    for worker, cases in seconds.items():
        for case, values in cases.items():
            word = case.split()[0]
            if case.endswith(INSTEAD) and f"{word} maml" in cases:
                rows.append((worker, f"own {word} maml / {case}", cases[f"{word} maml"], values))
            for peer in PEERS if worker in OURS else ():
                if case in seconds[peer]:
                    rows.append((worker, f"{peer} / ours, {case}", seconds[peer][case], values))
                if case.endswith(INSTEAD) and f"{word} maml" in seconds[peer]:
                    theirs = seconds[peer][f"{word} maml"]
                    rows.append((worker, f"{peer} {word} maml / our {case}", theirs, values))
    return rows


def main(argv: list[str]) -> None:
    """Runs a worker, or all of them."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    if side_by_side.is_worker():
        side_by_side.work(our_cases, peer_cases)
        return
    start = time.perf_counter()
    settings: dict[str, Any] = {
        "filters": 4 if SMOKE.value else _FILTERS.value,
        "size": 16 if SMOKE.value else _SIZE.value,
        "tasks": _TASKS.value,
        "steps": 2 if SMOKE.value else _STEPS.value,
        "test_steps": 3 if SMOKE.value else _TEST_STEPS.value,
        "shots": _SHOTS.value,
        "queries": 2 if SMOKE.value else _QUERIES.value,
        "units": 8,
        "inner_rate": 0.01,
        "learning_rate": 0.001,
        "limits": LIMITS,
        **side_by_side.common_settings(),
    }
    # What a modulator must agree with is run as well.
    chosen = {*_CASES.value, *(SAME[case] for case in _CASES.value if case in SAME)}
    theirs = [case for case in THEIRS if case in chosen]
    ours = theirs + [case for case in OURS_ONLY if case in chosen]
    workers = side_by_side.workers()
    cases = {worker: theirs if worker in PEERS else ours for worker in workers}
    rows = []
    print("versions:", side_by_side.versions(), "load:", os.getloadavg())
    for mode, threads in side_by_side.modes().items():
        seconds = side_by_side.measure(__file__, settings, cases, threads, SAME)
        rows += side_by_side.report(mode, table(seconds))
    few = {worker: [case for case in names if case.startswith("train")]
           for worker, names in cases.items()}  # fmt: skip
    for kind, values in side_by_side.measure_fresh(__file__, settings, few, SAME).items():
        rows += side_by_side.report(kind, side_by_side.cost_rows(values, SAME))
    side_by_side.write(_OUTPUT_DIR.value, rows, settings, start)


if __name__ == "__main__":
    app.run(main)
