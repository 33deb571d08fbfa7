"""Learning the pre-classifier alignment of few-shot episodes, beside plain PyTorch.

    python benchmarks/alignment.py --output_dir=runs/bench_alignment

A case fits `PreClassifierAlignment`, 40 steps of Adadelta on a matrix of channels squared, on all
episodes of a batch, and gives the scores of their queries. The peer does it as few-shot code in
PyTorch does, an episode at a time with autograd and `torch.optim.Adadelta`. Four processes take
turns; the run fails unless their scores agree. Prints ratios peer / ours, a speed: above 1 this
library is faster.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import side_by_side
from absl import app, flags
from side_by_side import BACKENDS, PEERS, SMOKE, Row

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/bench_alignment", "Where results.json goes.")
_EPISODES = flags.DEFINE_integer("episodes", 4, "Episodes of a batch.")
_CHANNELS = flags.DEFINE_integer("channels", 512, "Features of an image.")

SHAPES = {"5-way 1-shot": (5, 1), "5-way 5-shot": (5, 5), "20-way 5-shot": (20, 5)}
QUERIES = 10
Step = Callable[[], np.ndarray]


def make_features(settings: dict[str, Any], name: str) -> tuple[np.ndarray, ...]:
    """Support features, labels and queries of a batch of episodes, after a ReLU."""
    way, shot = SHAPES[name]
    rng = np.random.default_rng(settings["seed"])
    episodes, channels = settings["episodes"], settings["channels"]
    labels = np.tile(np.arange(way), shot)
    centres = rng.normal(size=(episodes, way, channels))
    support = centres[:, labels] + rng.normal(size=(episodes, way * shot, channels))
    queries = centres[:, np.arange(QUERIES) % way] + rng.normal(size=(episodes, QUERIES, channels))
    positive = [np.maximum(x, 0.0).astype("float32") for x in (support, queries)]
    return positive[0], np.tile(labels, (episodes, 1)), positive[1]


def our_cases(settings: dict[str, Any]) -> dict[str, Callable[[], Step]]:
    """Cases of this library."""

    def make(name: str) -> Step:
        from keras_univrep.few_shot import PreClassifierAlignment

        support, labels, queries = make_features(settings, name)
        classifier = PreClassifierAlignment(steps=settings["steps"])
        return lambda: classifier.fit(support, labels).scores(queries)

    return {name: lambda name=name: make(name) for name in SHAPES}


def peer_cases(settings: dict[str, Any], _: bool) -> dict[str, Callable[[], Step]]:
    """Cases of the peer, whose features have no layout to choose."""

    def make(name: str) -> Step:
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        arrays = [torch.from_numpy(x) for x in make_features(settings, name)]

        def step() -> np.ndarray:
            parts = [align(*one, settings["steps"]) for one in zip(*arrays)]
            return torch.stack(parts).numpy()

        return step

    return {name: lambda name=name: make(name) for name in SHAPES}


def align(x: Any, labels: Any, queries: Any, steps: int) -> Any:
    """Scores of one episode, in PyTorch."""
    import torch
    from torch.nn import functional

    one_hot = functional.one_hot(labels).float()
    shares = (one_hot / one_hot.sum(dim=0)).t()
    theta = torch.eye(x.shape[1], requires_grad=True)
    optimizer = torch.optim.Adadelta([theta], lr=1.0, rho=0.9, eps=1e-6)

    def logits(z: Any) -> Any:
        z = functional.normalize(z @ theta.t(), dim=-1)
        return 10.0 * z @ functional.normalize(shares @ (x @ theta.t()), dim=-1).t()

    for _ in range(steps):
        optimizer.zero_grad()
        functional.cross_entropy(logits(x), labels).backward()
        optimizer.step()
    with torch.no_grad():
        return logits(queries)


def main(argv: list[str]) -> None:
    """Runs a worker, or all of them."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    if side_by_side.is_worker():
        side_by_side.work(our_cases, peer_cases)
        return
    start = time.perf_counter()
    settings: dict[str, Any] = {
        "episodes": 2 if SMOKE.value else _EPISODES.value,
        "channels": 32 if SMOKE.value else _CHANNELS.value,
        "steps": 5 if SMOKE.value else 40,
        **side_by_side.common_settings(),
    }
    cases = dict.fromkeys((*BACKENDS.value, PEERS[0]), list(SHAPES))
    print("versions:", side_by_side.versions(), "load:", os.getloadavg())
    rows = []
    for mode, threads in side_by_side.modes().items():
        seconds = side_by_side.measure(__file__, settings, cases, threads)
        found: list[Row] = [
            (worker, f"peer / ours, {name}", seconds[PEERS[0]][name], seconds[worker][name])
            for worker in BACKENDS.value
            for name in SHAPES
        ]
        rows += side_by_side.report(mode, found)
    side_by_side.write(_OUTPUT_DIR.value, rows, settings, start)


if __name__ == "__main__":
    app.run(main)
