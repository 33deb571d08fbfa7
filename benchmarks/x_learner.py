"""Cost of X-Learner's expansion and squeeze, beside one backbone and beside plain PyTorch.

    python benchmarks/x_learner.py --output_dir=runs/bench_x_learner

Five processes take turns, case by case: this library on TensorFlow, JAX and PyTorch, and the same
written straight in PyTorch, channels first and channels last. All start from the same weights, and
the run fails unless their losses and features agree. Measured are the forward passes of the
expanded and of the squeezed network beside one backbone, a joint step of two tasks beside the sum
of the steps of each alone, and a step of the squeeze. Ratios, `results.json`: see
`benchmarks/README.md`.
"""

from __future__ import annotations

import os
import time
from typing import Any

import side_by_side
from absl import app, flags
from side_by_side import OURS, PEERS, SMOKE, Row, Values
from x_learner_cases import INFER, TASKS, TRAIN, our_cases, peer_cases

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/bench_x_learner", "Where results.json goes.")
_WIDTH = flags.DEFINE_float("width", 0.5, "Factor of the channel numbers 64, 128, 256 and 512.")
_SIZE = flags.DEFINE_integer("image_size", 64, "Height and width, a multiple of 16.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Images of each task in a step.")


def table(seconds: Values) -> list[Row]:
    """What expansion and squeeze cost beside one backbone, and beside the peers."""
    rows: list[Row] = []
    for worker, cases in seconds.items():
        alone = [sum(v) for v in zip(*(cases[f"train {task} alone"] for task in TASKS))]
        for case in INFER[1:]:
            rows.append((worker, f"{case} / infer plain", cases[case], cases["infer plain"]))
        for case in ("train joint", "train squeeze"):
            rows.append((worker, f"{case} / sum of tasks alone", cases[case], alone))
        for peer in PEERS if worker in OURS else ():
            for case, values in cases.items():
                rows.append((worker, f"{peer} / ours, {case}", seconds[peer][case], values))
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
        "width": 0.125 if SMOKE.value else _WIDTH.value,
        "size": 32 if SMOKE.value else _SIZE.value,
        "batch_size": 4 if SMOKE.value else _BATCH.value,
        "learning_rate": 0.01,
        **side_by_side.common_settings(),
    }
    workers = side_by_side.workers()
    cases = dict.fromkeys(workers, [*INFER, *TRAIN])
    rows = []
    print("versions:", side_by_side.versions(), "load:", os.getloadavg())
    for mode, threads in side_by_side.modes().items():
        seconds = side_by_side.measure(__file__, settings, cases, threads)
        rows += side_by_side.report(mode, table(seconds))
    few = dict.fromkeys(workers, ["infer expanded", "train joint"])
    for kind, values in side_by_side.measure_fresh(__file__, settings, few).items():
        rows += side_by_side.report(kind, side_by_side.cost_rows(values))
    side_by_side.write(_OUTPUT_DIR.value, rows, settings, start)


if __name__ == "__main__":
    app.run(main)
