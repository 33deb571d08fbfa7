"""Cost of balancing three dense tasks of SegNet by their gradients, beside plain PyTorch.

    python benchmarks/multi_task_step.py --output_dir=runs/bench_multi_task

Five processes take turns, case by case: this library on TensorFlow, JAX and PyTorch, and the same
step written straight in PyTorch, with one backward pass a task and the gradients in one flat
vector, as published (channels first) and in its faster form (channels last). All start from the
same weights, and the run fails unless their losses agree, and in double precision the gradients of
the shared kernels under equal weights and under PCGrad. Ratios, `results.json`: see
`benchmarks/README.md`.
"""

from __future__ import annotations

import os
import time
from typing import Any

import side_by_side
from absl import app, flags
from multi_task_cases import (
    BALANCERS,
    EXACT,
    ON_REPRESENTATION,
    case_names,
    our_cases,
    peer_cases,
)
from side_by_side import BACKENDS, OURS, PEERS, SMOKE, Row, Values

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/bench_multi_task", "Where results.json goes.")
_WIDTH = flags.DEFINE_float("width", 0.5, "Factor of SegNet's channel numbers.")
_SIZE = flags.DEFINE_integer("image_size", 64, "Height and width, a multiple of 32.")
_BATCH = flags.DEFINE_integer("batch_size", 4, "Images of a step.")
_BALANCERS = flags.DEFINE_list("balancers", list(BALANCERS), "Which to measure beside uniform.")
flags.register_validator(
    "balancers", lambda names: set(names) <= set(BALANCERS), f"Some of {list(BALANCERS)}."
)
# Of the largest entry, in the first step.
GRADIENT_LIMIT = 1e-5
# What only we have is compared with what the peers have for the same balancer.
SAME = {f"train {name} on representation": f"train {name}" for name in ON_REPRESENTATION}


def table(seconds: Values) -> list[Row]:
    """What each balancer costs beside equal weights, and beside the peers."""
    rows: list[Row] = []
    for worker, cases in seconds.items():
        for case, values in cases.items():
            if case != "train uniform":
                rows.append((worker, f"{case} / uniform", values, cases["train uniform"]))
        for peer in PEERS if worker in OURS else ():
            for case, values in cases.items():
                theirs = seconds[peer][SAME.get(case, case)]
                rows.append((worker, f"{peer} / ours, {case}", theirs, values))
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
        "width": 0.0625 if SMOKE.value else _WIDTH.value,
        "size": 32 if SMOKE.value else _SIZE.value,
        "batch_size": 2 if SMOKE.value else _BATCH.value,
        "learning_rate": 0.01,
        **side_by_side.common_settings(),
    }
    chosen = BALANCERS[:2] if SMOKE.value else _BALANCERS.value
    ours, theirs = case_names([name for name in BALANCERS if name in ("uniform", *chosen)])
    workers = side_by_side.workers()
    cases = {worker: theirs if worker in PEERS else ours for worker in workers}
    rows = []
    print("versions:", side_by_side.versions(), "load:", os.getloadavg())
    exact = [f"gradient {name}" for name in EXACT]
    limits = dict.fromkeys(exact, GRADIENT_LIMIT)
    # No rounds: the workers start, are compared, and end. Keras takes means in single precision on
    # JAX whatever they are of.
    compared = dict.fromkeys((worker for worker in workers if worker != "jax"), exact)
    side_by_side.measure(__file__, {**settings, "rounds": 0, "limits": limits}, compared, 1)
    print("gradients agree:", limits)
    for mode, threads in side_by_side.modes().items():
        seconds = side_by_side.measure(__file__, settings, cases, threads, SAME)
        rows += side_by_side.report(mode, table(seconds))
    few = dict.fromkeys((BACKENDS.value[0], *PEERS), ["train uniform", "train pcgrad"])
    for kind, values in side_by_side.measure_fresh(__file__, settings, few).items():
        rows += side_by_side.report(kind, side_by_side.cost_rows(values))
    side_by_side.write(_OUTPUT_DIR.value, rows, settings, start)


if __name__ == "__main__":
    app.run(main)
