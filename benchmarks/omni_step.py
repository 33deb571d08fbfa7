"""Cost of one step of Omni-Training, beside three networks' steps and beside plain PyTorch.

    python benchmarks/omni_step.py --output_dir=runs/bench_omni

Five processes take turns, case by case: this library on TensorFlow, JAX and PyTorch, and the same
step written straight in PyTorch, two convolutions a layer as the paper draws it, channels first and
channels last. All start from the same weights, and the run fails unless their losses agree. Ratios,
`results.json`: see `benchmarks/README.md`.
"""

from __future__ import annotations

import os
import time
from typing import Any

import side_by_side
from absl import app, flags
from omni_cases import CASES, QUERY, our_cases, peer_cases
from side_by_side import BACKENDS, OURS, PEERS, SMOKE, Row, Values

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/bench_omni", "Where results.json goes.")
_FILTERS = flags.DEFINE_integer("filters", 64, "Channels of Conv4.")
_SIZE = flags.DEFINE_integer("image_size", 32, "Height and width, at least 16.")
_BATCH = flags.DEFINE_integer("batch_size", 64, "Images of the mini-batch.")


def table(seconds: Values) -> list[Row]:
    """What the flows cost beside three networks, and beside the peers."""
    rows: list[Row] = []
    for worker, cases in seconds.items():
        for case in CASES[:2]:
            rows.append((worker, f"{case} / three networks", cases[case], cases[CASES[2]]))
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
        "filters": 4 if SMOKE.value else _FILTERS.value,
        "size": 16 if SMOKE.value else _SIZE.value,
        "batch_size": 4 if SMOKE.value else _BATCH.value,
        "query": 2 if SMOKE.value else QUERY,
        "learning_rate": 0.001,
        **side_by_side.common_settings(),
    }
    cases = {worker: list(CASES) for worker in side_by_side.workers()}
    rows = []
    print("versions:", side_by_side.versions(), "load:", os.getloadavg())
    for mode, threads in side_by_side.modes().items():
        seconds = side_by_side.measure(__file__, settings, cases, threads)
        rows += side_by_side.report(mode, table(seconds))
    few = dict.fromkeys((BACKENDS.value[0], *PEERS), [CASES[0], CASES[2]])
    for kind, values in side_by_side.measure_fresh(__file__, settings, few).items():
        rows += side_by_side.report(kind, side_by_side.cost_rows(values))
        own = [
            (w, f"{CASES[0]} / three networks", c[CASES[0]], c[CASES[2]]) for w, c in values.items()
        ]
        rows += side_by_side.report(kind, own)
    side_by_side.write(_OUTPUT_DIR.value, rows, settings, start)


if __name__ == "__main__":
    app.run(main)
