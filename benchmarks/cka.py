"""The CKA loss and its gradient, beside the form that li2022 released.

    python benchmarks/cka.py --output_dir=runs/bench_cka

The peer is the published computation straight in PyTorch: each of three HSICs builds both its
kernels and centres them by products with the centring matrix. The same with every kernel built once
and centred by its means is "kernels once", a peer that nobody published. A case gives the loss, or
the gradient with respect to the student; the run fails unless all agree. Prints ratios peer / ours,
a speed: above 1 this library is faster.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import side_by_side
from absl import app, flags
from side_by_side import BACKENDS, SMOKE

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/bench_cka", "Where results.json goes.")
_BATCHES = flags.DEFINE_list("batches", ["256", "1024"], "Batch sizes.")
_CHANNELS = flags.DEFINE_integer("channels", 512, "Channels of teacher and student.")

ONCE = "kernels once, "
PEER = side_by_side.PEERS[0]


def make_features(settings: dict[str, Any], batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Random features, and those of a network that knows some of them."""
    rng = np.random.default_rng(settings["seed"])
    channels = settings["channels"]
    student = rng.normal(size=(batch, channels))
    mixed = student @ rng.normal(size=(channels, channels)) / math.sqrt(channels)
    return student.astype("float32"), np.tanh(mixed).astype("float32")


def case_names(settings: dict[str, Any]) -> list[str]:
    """A value and a gradient for each batch size."""
    return [f"{kind}, batch {n}" for n in settings["batches"] for kind in ("value", "gradient")]


def our_cases(settings: dict[str, Any]) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import keras

    from keras_univrep.losses import CKA

    loss = CKA()

    def make(batch: int, gradient: bool) -> Callable[[], Any]:
        student, teacher = map(keras.ops.convert_to_tensor, make_features(settings, batch))
        if keras.backend.backend() == "torch":
            import torch

            student.requires_grad_(gradient)

            def step() -> Any:
                value = loss(teacher, student)
                return torch.autograd.grad(value, [student])[0] if gradient else value.item()

        elif keras.backend.backend() == "jax":
            import jax

            function = jax.value_and_grad(lambda s, t: loss(t, s)) if gradient else None
            compiled = jax.jit(function or (lambda s, t: (loss(t, s), ())))

            def step() -> Any:
                value, found = compiled(student, teacher)
                return np.asarray(found if gradient else value)

        else:
            import tensorflow as tf

            @tf.function
            def compiled(s: Any, t: Any) -> Any:
                with tf.GradientTape() as tape:
                    tape.watch(s)
                    value = loss(t, s)
                return tape.gradient(value, s) if gradient else value

            def step() -> Any:
                return compiled(student, teacher).numpy()

        return step

    return {
        f"{kind}, batch {n}": lambda n=n, kind=kind: make(n, kind == "gradient")
        for n in settings["batches"]
        for kind in ("value", "gradient")
    }


def peer_cases(
    settings: dict[str, Any], channels_last: bool
) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step; there is one layout only."""
    import torch
    from torch.nn import functional

    def kernel(x: torch.Tensor) -> torch.Tensor:
        gram = x @ x.T
        one_way = torch.diag(gram) - gram
        distances = one_way + one_way.T
        width = math.sqrt(torch.median(distances.detach()[distances != 0]).clamp(min=1e-12))
        return torch.exp(distances * (-0.5 / width**2))

    def centre(matrix: torch.Tensor) -> torch.Tensor:
        n = len(matrix)
        centring = torch.eye(n) - torch.ones(n, n) / n
        return centring @ matrix @ centring

    def published(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        def hsic(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return (centre(kernel(x)) * centre(kernel(y))).sum()

        scale = hsic(s, s).clamp(min=1e-12).sqrt() * hsic(t, t).clamp(min=1e-12).sqrt()
        return 1.0 - hsic(s, t) / scale

    def once(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        p, q = (k - k.mean(0) - k.mean(1, keepdim=True) + k.mean() for k in map(kernel, (s, t)))
        return 1.0 - (p * q).sum() / ((p * p).sum().sqrt() * (q * q).sum().sqrt())

    def make(function: Callable, batch: int, gradient: bool) -> Callable[[], Any]:
        student, teacher = map(torch.from_numpy, make_features(settings, batch))
        student.requires_grad_(gradient)

        def step() -> Any:
            value = function(functional.normalize(student), functional.normalize(teacher))
            return torch.autograd.grad(value, [student])[0] if gradient else value.item()

        return step

    return {
        f"{prefix}{kind}, batch {n}": lambda f=f, n=n, kind=kind: make(f, n, kind == "gradient")
        for prefix, f in (("", published), (ONCE, once))
        for n in settings["batches"]
        for kind in ("value", "gradient")
    }


def speed_rows(values: side_by_side.Values) -> list[side_by_side.Row]:
    """How many times as fast as each peer this library is."""
    return [
        (worker, f"peer / ours, {prefix}{case}", values[PEER][prefix + case], ours)
        for worker, cases in values.items()
        if worker != PEER
        for case, ours in cases.items()
        for prefix in ("", ONCE)
    ]


def main(argv: list[str]) -> None:
    """Checks that all compute the same, measures, prints ratios."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    if side_by_side.is_worker():
        side_by_side.work(our_cases, peer_cases)
        return
    start = time.perf_counter()
    settings = {
        "batches": [32] if SMOKE.value else [int(batch) for batch in _BATCHES.value],
        "channels": 16 if SMOKE.value else _CHANNELS.value,
        # A step takes few milliseconds.
        "calls": 1 if SMOKE.value else 10,
        **side_by_side.common_settings(),
    }
    ours = case_names(settings)
    cases = {name: ours for name in BACKENDS.value} | {PEER: ours + [ONCE + c for c in ours]}
    same = {ONCE + case: case for case in ours}
    print("versions:", side_by_side.versions(), "load:", os.getloadavg())
    table = []
    for mode, threads in side_by_side.modes().items():
        values = side_by_side.measure(__file__, settings, cases, threads, same)
        table += side_by_side.report(mode, speed_rows(values))
    side_by_side.write(_OUTPUT_DIR.value, table, settings, start)


if __name__ == "__main__":
    app.run(main)
