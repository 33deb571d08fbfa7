"""Cost of residual adapters in ResNet-26 (rebuffi2018), beside the published form in PyTorch.

    python benchmarks/adapted_resnet26.py --output_dir=runs/bench_adapted

Five processes take turns, case by case: this library on TensorFlow, JAX and PyTorch, and the
network of the paper written straight in PyTorch, as published (channels first) and in its faster
form (channels last). All start from the same weights, and the run fails unless their logits and
losses agree. Ratios, `results.json`: see `benchmarks/README.md`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

import side_by_side
from absl import app, flags
from adapted_cases import CASES, SAME, our_bytes, our_cases, peer_bytes, peer_cases
from side_by_side import BACKENDS, OURS, PEERS, SMOKE, Row, Values

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/bench_adapted", "Where results.json goes.")
_CASES = flags.DEFINE_list("cases", None, "What to measure; by default all, or a few in --smoke.")
_WIDTH = flags.DEFINE_float("width", 1.0, "Factor of all channel numbers.")
_SIZE = flags.DEFINE_integer("image_size", 64, "Height and width of the images.")
_BATCH = flags.DEFINE_integer("batch_size", 16, "Images of a step.")
_DOMAINS = flags.DEFINE_integer("domains", 10, "Domains resident in the largest network.")
flags.register_validator(
    "cases", lambda names: not names or set(names) <= set(CASES), f"Some of {list(CASES)}."
)
# The others are the same code with another argument, and compiling is what a smoke run waits for.
SMOKE_CASES = ("inference", "inference fused", "adapters-only training")

# What a part costs, or saves: cases of one and the same worker.
OWN = {
    "inference, adapted / plain": ("inference", "inference plain"),
    "inference, fused / plain": ("inference fused", "inference plain"),
    "inference, fused / adapted": ("inference fused", "inference"),
    "inference, many domains / one": ("inference many domains", "inference"),
    "training, adapters only / full": ("adapters-only training", "full training"),
}


def cases_of(workers: Sequence[str], wanted: Sequence[str]) -> dict[str, list[str]]:
    """Names of the cases of each worker; the peers have what the others are compared with."""
    theirs = {SAME.get(case, case) for case in wanted}
    return {
        worker: [case for case in CASES if case in (theirs if worker in PEERS else wanted)]
        for worker in workers
    }


def own_rows(values: Values) -> list[Row]:
    """One case over another one of the same worker."""
    return [
        (worker, name, cases[above], cases[below])
        for worker, cases in values.items()
        for name, (above, below) in OWN.items()
        if above in cases and below in cases
    ]


def speed_rows(seconds: Values) -> list[Row]:
    """The peers' time over ours, case by case."""
    return [
        (worker, f"{peer} / ours, {case}", seconds[peer][SAME.get(case, case)], ours)
        for worker, cases in seconds.items()
        if worker in OURS
        for peer in PEERS
        for case, ours in cases.items()
    ]


def file_rows(settings: dict[str, Any]) -> list[Row]:
    """What a further domain takes on a disk."""
    os.environ["KERAS_BACKEND"] = BACKENDS.value[0]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    ours, peers = our_bytes(settings), peer_bytes(settings)
    whole, domain = [ours["network"]], [ours["domain"]]
    return [
        ("ours", "one more domain / the network with one", domain, whole),
        ("ours", "the peer's file of a domain / one more domain", [peers["network"]], domain),
    ]


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
        "size": 16 if SMOKE.value else _SIZE.value,
        "batch_size": 4 if SMOKE.value else _BATCH.value,
        "domains": 2 if SMOKE.value else _DOMAINS.value,
        "learning_rate": 0.01,
        **side_by_side.common_settings(),
    }
    rows = []
    print("versions:", side_by_side.versions(), "load:", os.getloadavg())
    wanted = _CASES.value or (SMOKE_CASES if SMOKE.value else CASES)
    cases = cases_of(side_by_side.workers(), wanted)
    for mode, threads in side_by_side.modes().items():
        seconds = side_by_side.measure(__file__, settings, cases, threads, SAME)
        rows += side_by_side.report(mode, [*own_rows(seconds), *speed_rows(seconds)])
    if SMOKE.value:
        cases = cases_of([BACKENDS.value[0], *PEERS], wanted[:1])
    for kind, values in side_by_side.measure_fresh(__file__, settings, cases, SAME).items():
        found = [*own_rows(values), *side_by_side.cost_rows(values, SAME)]
        rows += side_by_side.report(kind, found)
    rows += side_by_side.report("bytes on a disk", file_rows(settings))
    side_by_side.write(_OUTPUT_DIR.value, rows, settings, start)


if __name__ == "__main__":
    app.run(main)
