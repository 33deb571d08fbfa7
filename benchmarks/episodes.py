"""Sampling of few-shot episodes and gathering of their images, beside plain PyTorch.

    python benchmarks/episodes.py --output_dir=runs/bench_episodes

The peers are what few-shot code in PyTorch does: a `torch.utils.data.Sampler` that draws an episode
class by class, with `random.sample` (peer), with `torch.randperm` (peer_randperm), or with
`random.sample` into a tensor for each class, as easyfsl 1.5 does (peer_tensors); and a `DataLoader`
that reads image by image. All run in one process on one core, case by case in turns, in CPU time.
The run fails unless all follow one protocol, and the loaders give the same pixels. Prints ratios
peer / ours, a speed: above 1 this library is faster; `results.json` has episodes a second too.
"""

from __future__ import annotations

import itertools
import math
import os
import pathlib
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import side_by_side
import torch
from absl import app, flags
from side_by_side import SEED, SMOKE

from keras_univrep.datasets import (
    Domain,
    Episode,
    EpisodeSampler,
    domain_from_arrays,
    episode_batches,
)
from keras_univrep.evaluation import write_results

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "runs/bench_episodes", "Where results.json goes.")
_EPISODES = flags.DEFINE_integer("episodes", 200, "Episodes of a case in each round.")
_CLASSES = flags.DEFINE_integer("classes", 100, "Classes of the set.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 32, "Side of the images, in pixels.")

FIXED = {"5-way 1-shot": (5, 1, 15), "20-way 1-shot": (20, 1, 15)}
PEERS = {"peer": "sample", "peer_randperm": "randperm", "peer_tensors": "tensors"}
VARYING = "varying way, varying shot"
Case = Callable[[], Any]


# ---- the peers ----------------------------------------------------------------------------------


class FixedSampler(torch.utils.data.Sampler):
    """Yields the indices of an episode: support and query images, class by class."""

    def __init__(
        self, labels: np.ndarray, way: int, shot: int, query: int, episodes: int, draw: str
    ) -> None:
        self.images: dict[int, list[int]] = {}
        for index, label in enumerate(labels.tolist()):
            self.images.setdefault(label, []).append(index)
        self.tensors = {label: torch.tensor(own) for label, own in self.images.items()}
        self.way, self.count, self.episodes = way, shot + query, episodes
        self.draw = draw

    def __len__(self) -> int:
        return self.episodes

    def __iter__(self) -> Iterator[list[int]]:
        names = list(self.images)
        for _ in range(self.episodes):
            if self.draw == "randperm":
                parts = []
                for place in torch.randperm(len(names))[: self.way].tolist():
                    own = self.tensors[names[place]]
                    parts.append(own[torch.randperm(len(own))[: self.count]])
                yield torch.cat(parts).tolist()
            elif self.draw == "tensors":
                classes = random.sample(sorted(self.images), self.way)
                drawn = [random.sample(self.images[c], self.count) for c in classes]
                yield torch.cat([torch.tensor(own) for own in drawn]).tolist()
            else:
                classes = random.sample(names, self.way)
                yield [i for c in classes for i in random.sample(self.images[c], self.count)]


class VaryingSampler(torch.utils.data.Sampler):
    """Yields (support, query) of an episode as Meta-Dataset describes it, class by class."""

    def __init__(self, labels: np.ndarray, episodes: int) -> None:
        self.images: dict[int, list[int]] = {}
        for index, label in enumerate(labels.tolist()):
            self.images.setdefault(label, []).append(index)
        self.episodes = episodes

    def __len__(self) -> int:
        return self.episodes

    def __iter__(self) -> Iterator[tuple[list[int], list[int]]]:
        names = list(self.images)
        for _ in range(self.episodes):
            way = random.randint(5, min(50, len(names)))
            classes = random.sample(names, way)
            sizes = [len(self.images[c]) for c in classes]
            query = min(10, min(sizes) // 2)
            beta = 1 - random.random()
            support = min(500, sum(math.ceil(beta * min(100, size - query)) for size in sizes))
            weights = [n * math.exp(random.uniform(math.log(0.5), math.log(2))) for n in sizes]
            total = sum(weights)
            first, second = [], []
            for c, weight, size in zip(classes, weights, sizes):
                shot = min(1 + math.floor(weight / total * (support - way)), size - query)
                own = random.sample(self.images[c], shot + query)
                first += own[:shot]
                second += own[shot:]
            yield first, second


class ImageDataset(torch.utils.data.Dataset):
    """Reads one image at a time."""

    def __init__(self, domain: Domain) -> None:
        self.images, self.labels = domain.arrays("train")
        self.mean = torch.tensor(domain.mean, dtype=torch.float32)[:, None, None]
        self.std = torch.tensor(domain.std, dtype=torch.float32)[:, None, None]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = torch.from_numpy(self.images[index]).permute(2, 0, 1).float() / 255
        return (image - self.mean) / self.std, int(self.labels[index])


# ---- cases --------------------------------------------------------------------------------------


def make_domain(settings: dict[str, Any]) -> Domain:
    """A set of random images, of 60 to 159 in a class."""
    rng = np.random.default_rng(settings["seed"])
    sizes = 60 + np.arange(settings["classes"]) % 100
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    size = settings["image_size"]
    images = rng.integers(0, 256, (len(labels), size, size, 3), "uint8")
    return domain_from_arrays("random", (images, labels))


def make_cases(domain: Domain, settings: dict[str, Any]) -> dict[str, dict[str, Case]]:
    """By what is measured, one function for each worker."""
    labels, count = domain.arrays("train")[1], settings["episodes"]
    cases: dict[str, dict[str, Case]] = {}
    for name, (way, shot, query) in FIXED.items():
        sampler = EpisodeSampler(labels, way, shot, query, seed=settings["seed"])
        numbers = itertools.count(0, count)
        peers = {
            key: FixedSampler(labels, way, shot, query, count, draw) for key, draw in PEERS.items()
        }
        cases[f"indices, {name}"] = {
            # New numbers in each round: the sampler keeps what it gave last.
            "ours, one by one": lambda s=sampler, n=numbers: one_by_one(s, next(n), count),
            "ours, block": lambda s=sampler, n=numbers: s.block(next(n), count),
            **{key: lambda p=peer: list(p) for key, peer in peers.items()},
        }
        cases[f"images, {name}"] = {
            "ours, one by one": lambda s=sampler: run(episode_batches(domain, "train", s, count)),
            "ours, block": lambda s=sampler: run(
                episode_batches(domain, "train", s, count, batch_size=10)
            ),
            **{key: lambda p=peer: run(make_loader(domain, p)) for key, peer in peers.items()},
        }
    varying = EpisodeSampler(labels, seed=settings["seed"])
    peer = VaryingSampler(labels, count)
    cases[f"indices, {VARYING}"] = {
        "ours, one by one": lambda: one_by_one(varying, 0, count),
        "peer": lambda: list(peer),
    }
    cases[f"images, {VARYING}"] = {
        "ours, one by one": lambda: run(episode_batches(domain, "train", varying, count)),
        "peer": lambda: run(make_loader(domain, [a + b for a, b in peer])),
    }
    return cases


def one_by_one(sampler: EpisodeSampler, first: int, count: int) -> list[Episode]:
    return [sampler(number) for number in range(first, first + count)]


def run(batches: Iterable[Any]) -> None:
    """Takes every batch and keeps none, as a training does."""
    for _ in batches:
        pass


def make_loader(domain: Domain, batches: Any) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(ImageDataset(domain), batch_sampler=batches)


def check_protocol(domain: Domain, cases: dict[str, dict[str, Case]]) -> None:
    """Raises unless all sample the same kind of episodes and load the same pixels."""
    labels = domain.arrays("train")[1]
    for name, (way, shot, query) in FIXED.items():
        own = cases[f"indices, {name}"]
        found = {
            "ours, one by one": [
                (e.support_indices.reshape(way, -1), e.query_indices.reshape(way, -1))
                for e in own["ours, one by one"]()
            ]
        }
        block = own["ours, block"]()
        found["ours, block"] = [
            (a.reshape(way, -1), b.reshape(way, -1))
            for a, b in zip(block.support_indices, block.query_indices)
        ]
        for key in PEERS:
            rows = [np.array(e).reshape(way, -1) for e in own[key]()]
            found[key] = [(row[:, :shot], row[:, shot:]) for row in rows]
        for key, episodes in found.items():
            for support, queries in episodes:
                both = np.concatenate([support, queries], axis=1)
                classes = labels[both]
                same = support.shape == (way, shot) and queries.shape == (way, query)
                same = same and len(set(both.ravel().tolist())) == both.size
                same = same and (classes == classes[:, :1]).all()
                if not same or len(set(classes[:, 0].tolist())) != way:
                    raise RuntimeError(f"{key}, {name}: an episode that is none.")
    own = cases[f"indices, {VARYING}"]
    ours = [(len(e.classes), len(e.support_indices)) for e in own["ours, one by one"]()]
    theirs = [(len(set(labels[a].tolist())), len(a)) for a, _ in own["peer"]()]
    one, other = np.array(ours, "float64"), np.array(theirs, "float64")
    error = np.sqrt(one.var(0) / len(one) + other.var(0) / len(other))
    if (np.abs(one.mean(0) - other.mean(0)) > 5 * error).any():
        raise RuntimeError(f"{VARYING}: means of ours {one.mean(0)}, of the peer {other.mean(0)}.")
    sampler = EpisodeSampler(labels, *FIXED["5-way 1-shot"])
    batch, episode = episode_batches(domain, "train", sampler, 1)[0], sampler(0)
    images, classes = next(iter(make_loader(domain, [episode.query_indices.tolist()])))
    np.testing.assert_allclose(
        batch["query_images"], images.permute(0, 2, 3, 1).numpy(), rtol=1e-4, atol=1e-5
    )
    if (episode.classes[batch["query_labels"]] != classes.numpy()).any():
        raise RuntimeError("The loaders give different labels.")


def measure(cases: dict[str, dict[str, Case]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """CPU seconds by case and worker, one a round; the workers take turns."""
    seconds = {name: {key: [] for key in own} for name, own in cases.items()}
    for number in range(rounds + 1):
        for name, own in cases.items():
            keys = list(own)
            for key in keys[number % len(keys) :] + keys[: number % len(keys)]:
                start = time.process_time()
                own[key]()
                # The first round warms up.
                if number:
                    seconds[name][key].append(time.process_time() - start)
    return seconds


def main(argv: list[str]) -> None:
    """Checks that all do the same, measures, prints ratios."""
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    start = time.perf_counter()
    settings = {
        "episodes": 40 if SMOKE.value else _EPISODES.value,
        "classes": 30 if SMOKE.value else _CLASSES.value,
        "image_size": 16 if SMOKE.value else _IMAGE_SIZE.value,
        **side_by_side.common_settings(),
    }
    # Nothing here runs in Keras: the backend is no matter.
    random.seed(settings["seed"])
    torch.manual_seed(settings["seed"])
    torch.set_num_threads(1)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    print("versions:", side_by_side.versions(), "load:", os.getloadavg())
    domain = make_domain(settings)
    cases = make_cases(domain, settings)
    check_protocol(domain, cases)
    seconds = measure(cases, settings["rounds"])
    rows = [
        (worker, f"{peer} / ours, {name}", own[peer], own[worker])
        for name, own in seconds.items()
        for worker in own
        if worker.startswith("ours")
        for peer in own
        if peer.startswith("peer")
    ]
    table = side_by_side.report("one core, CPU time", rows)
    rates = {
        name: {key: settings["episodes"] / min(values) for key, values in own.items()}
        for name, own in seconds.items()
    }
    write_results(
        pathlib.Path(_OUTPUT_DIR.value) / "results.json",
        table,
        SEED.value,
        time.perf_counter() - start,
        settings=settings,
        episodes_per_second=rates,
        versions=side_by_side.versions(),
        load=os.getloadavg(),
    )


if __name__ == "__main__":
    app.run(main)
