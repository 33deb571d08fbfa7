"""Cost of a distillation step against the number of teachers, beside plain PyTorch.

    python benchmarks/distillation_step.py --output_dir=runs/bench

Five processes take turns, case by case: this library on TensorFlow, JAX and PyTorch, and the same
step written straight in PyTorch, as published (channels first) and in its faster form (channels
last). All start from the same weights, and the run fails unless their losses agree. Ratios,
`results.json`: see `benchmarks/README.md`.
"""

from __future__ import annotations

import os
import time
from typing import Any

import side_by_side
from absl import app, flags
from distillation_cases import case_names, our_cases, peer_cases
from side_by_side import BACKENDS, PEERS, SMOKE, Row, Values

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/bench", "Where results.json goes.")
_WIDTH = flags.DEFINE_float("width", 0.25, "Of the ResNet-26.")
_SIZE = flags.DEFINE_integer("image_size", 32, "In pixels, a multiple of 8.")
_BATCH = flags.DEFINE_integer("batch_size", 16, "Images of each of the domains in a step.")


def table(seconds: Values, settings: dict[str, Any]) -> list[Row]:
    """One row for each worker and ratio."""
    most = max(settings["teachers"])
    rows: list[Row] = []
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
        for count in settings["teachers"]:
            rows.append(
                (worker, f"{count} cached teachers / none", cases[f"train {count} cached"], none)
            )
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
    return rows


def fresh_table(values: Values, settings: dict[str, Any]) -> list[Row]:
    """What the teachers add to a first call or to the memory, and both beside the peers."""
    most = max(settings["teachers"])
    rows: list[Row] = [
        (worker, f"{most} teachers / none", cases[f"train {most}"], cases["train 0"])
        for worker, cases in values.items()
    ]
    return rows + side_by_side.cost_rows(values)


def main(argv: list[str]) -> None:
    """Runs a worker, or all of them."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    if side_by_side.is_worker():
        side_by_side.work(our_cases, peer_cases)
        return
    start = time.perf_counter()
    settings: dict[str, Any] = {
        "teachers": [2] if SMOKE.value else [1, 2, 4, 8],
        "width": 0.125 if SMOKE.value else _WIDTH.value,
        "size": 16 if SMOKE.value else _SIZE.value,
        "batch_size": 8 if SMOKE.value else _BATCH.value,
        **side_by_side.common_settings(),
    }
    ours, theirs, same = case_names(settings)
    workers = side_by_side.workers()
    cases = {worker: theirs if worker in PEERS else ours for worker in workers}
    rows = []
    print("versions:", side_by_side.versions(), "load:", os.getloadavg())
    for mode, threads in side_by_side.modes().items():
        seconds = side_by_side.measure(__file__, settings, cases, threads, same)
        rows += side_by_side.report(mode, table(seconds, settings))
    most = max(settings["teachers"])
    few = ["train 0", f"train {most}", f"infer, {most} domains"]
    if SMOKE.value:
        few, workers = few[:2], (BACKENDS.value[0], *PEERS)
    fresh = side_by_side.measure_fresh(__file__, settings, dict.fromkeys(workers, few))
    for kind, values in fresh.items():
        rows += side_by_side.report(kind, fresh_table(values, settings))
    side_by_side.write(_OUTPUT_DIR.value, rows, settings, start)


if __name__ == "__main__":
    app.run(main)
