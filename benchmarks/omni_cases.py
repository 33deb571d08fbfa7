"""The same step of Omni-Training twice: with this library, and straight in PyTorch.

Every case is a function without arguments that builds its networks, from the same NumPy weights,
and returns a training step that returns its loss.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

BLOCKS, WAY, SHOT, QUERY, CLASSES = 4, 5, 5, 16, 64
FLOWS = ("joint", "pre", "meta")
TERMS = {"joint": ("pre", "meta"), "pre": ("pre",), "meta": ("meta",)}
LAMBDA, RHO = 3.0, 0.99
CASES = ("train omni", "train omni without teacher", "train three networks")


# ---- what all workers share: weights, images, labels --------------------------------------------


def kernels(settings: dict[str, Any]) -> list[np.ndarray]:
    """Kernels (height, width, in, out) of the trunk."""
    rng = np.random.default_rng(settings["seed"])
    found, channels = [], 3
    for _ in range(BLOCKS):
        filters = settings["filters"]
        scale = np.sqrt(2.0 / (9 * filters))
        found.append((scale * rng.normal(size=(3, 3, channels, filters))).astype("float32"))
        channels = filters
    return found


def heads(settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """Kernels (channels, classes) of the heads of pre-training."""
    rng = np.random.default_rng(settings["seed"] + 1)
    shape = (settings["filters"], CLASSES)
    return {flow: (0.1 * rng.normal(size=shape)).astype("float32") for flow in ("joint", "pre")}


def make_data(settings: dict[str, Any]) -> dict[str, Any]:
    """A mini-batch and an episode."""
    rng = np.random.default_rng(settings["seed"] + 2)
    size = settings["size"]

    def images(count: int) -> np.ndarray:
        return rng.normal(size=(count, size, size, 3)).astype("float32")

    labels = rng.integers(0, CLASSES, settings["batch_size"]).astype("int32")
    classes = np.arange(WAY, dtype="int32")
    support, query = np.repeat(classes, SHOT), np.repeat(classes, settings["query"])
    episode = {
        "support_images": images(len(support)),
        "support_labels": support,
        "query_images": images(len(query)),
        "query_labels": query,
    }
    return {"batch": (images(len(labels)), labels), "episode": episode}


# ---- this library -------------------------------------------------------------------------------


def our_cases(settings: dict[str, Any]) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import keras

    from keras_univrep.backbones import Conv4, OmniNet
    from keras_univrep.models import OmniTraining

    data = make_data(settings)

    def model(losses: tuple[str, ...], terms: tuple[str, ...], distilled: Any) -> Any:
        trunk = Conv4(settings["filters"], settings["size"], pooling="avg")
        for layer, kernel in zip(trunk.convolutions, kernels(settings), strict=True):
            layer.kernel.assign(kernel)
        made = OmniTraining(
            OmniNet(trunk),
            keras.layers.Dense(CLASSES),
            "prototypical",
            {"way": WAY},
            losses=losses,
            joint_terms=terms,
            distilled=distilled,
            distillation_weight=LAMBDA,
            decay=RHO,
        )
        for flow, kernel in heads(settings).items():
            if made.heads is not None and flow in made.heads.flows:
                made.heads.head(flow).kernel.assign(kernel)
        made.compile(
            keras.optimizers.SGD(settings["learning_rate"]),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            # On processors XLA's convolutions are several times slower than TensorFlow's own.
            jit_compile=keras.backend.backend() == "jax",
        )
        return made

    def train(models: list[Any]) -> Callable[[], float]:
        def step() -> float:
            total = 0.0
            for one in models:
                one.reset_metrics()
                total += float(one.train_on_batch(data, return_dict=True)["loss"])
            return total

        return step

    both = ("pre", "meta")
    return {
        CASES[0]: lambda: train([model(FLOWS, both, both)]),
        CASES[1]: lambda: train([model(FLOWS, both, ())]),
        CASES[2]: lambda: train([model(("joint",), TERMS[flow], ()) for flow in FLOWS]),
    }


# ---- the same in plain PyTorch ------------------------------------------------------------------


def peer_cases(
    settings: dict[str, Any], channels_last: bool
) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import torch
    import torch._dynamo  # Optimizers import it, in the midst of what is measured.
    from torch import nn
    from torch.nn import functional

    layout = torch.channels_last if channels_last else torch.contiguous_format
    data = make_data(settings)

    def to_images(value: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(value.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)

    def convolution(kernel: np.ndarray) -> nn.Conv2d:
        layer = nn.Conv2d(*kernel.shape[2:], kernel.shape[0], padding="same")
        layer.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        nn.init.zeros_(layer.bias)
        return layer

    class OmniBlock(nn.Module):
        """The shared convolution and, as the paper draws it, a 1x1 convolution beside it."""

        def __init__(self, kernel: np.ndarray, flows: tuple[str, ...]) -> None:
            super().__init__()
            self.main = convolution(kernel)
            light = np.zeros_like(kernel[:1, :1])
            self.light = nn.ModuleDict({f: convolution(light) for f in flows if f != "joint"})
            self.norm = nn.ModuleDict({f: nn.BatchNorm2d(kernel.shape[-1]) for f in flows})

        def forward(self, x: torch.Tensor, flow: str) -> torch.Tensor:
            y = self.main(x)
            if flow in self.light:
                y = y + self.light[flow](x)
            return functional.max_pool2d(functional.relu(self.norm[flow](y)), 2)

    class Network(nn.Module):
        def __init__(self, flows: tuple[str, ...], terms: dict[str, tuple[str, ...]]) -> None:
            super().__init__()
            self.terms = terms
            self.blocks = nn.ModuleList(OmniBlock(k, flows) for k in kernels(settings))
            self.heads = nn.ModuleDict()
            for flow, kernel in heads(settings).items():
                if "pre" in terms.get(flow, ()):
                    head = nn.Linear(*kernel.shape)
                    head.weight.data = torch.from_numpy(kernel.T.copy())
                    nn.init.zeros_(head.bias)
                    self.heads[flow] = head
            self.to(memory_format=layout)

        def features(self, x: torch.Tensor, flow: str) -> torch.Tensor:
            for block in self.blocks:
                x = block(x, flow)
            return x.mean((2, 3))

        def outputs(self, part: str, flow: str) -> torch.Tensor:
            if part == "pre":
                return self.heads[flow](self.features(images, flow))
            found = self.features(episode, flow)
            support, queries = found[: WAY * SHOT], found[WAY * SHOT :]
            centres = support.view(WAY, SHOT, -1).mean(1)
            return -((queries[:, None] - centres) ** 2).sum(-1)

    images, labels = to_images(data["batch"][0]), torch.from_numpy(data["batch"][1]).long()
    parts = [data["episode"][f"{part}_images"] for part in ("support", "query")]
    episode = to_images(np.concatenate(parts))
    targets = torch.from_numpy(data["episode"]["query_labels"]).long()
    truth = {"pre": labels, "meta": targets}

    def train(networks: list[Any], taught: bool) -> Callable[[], float]:
        optimizers = [torch.optim.SGD(n.parameters(), settings["learning_rate"]) for n in networks]
        teacher = copy.deepcopy(networks[0]).requires_grad_(False) if taught else None

        def one(network: Any, optimizer: Any) -> float:
            optimizer.zero_grad()
            loss = 0.0
            for flow, terms in network.terms.items():
                for part in terms:
                    found = network.outputs(part, flow)
                    loss = loss + functional.cross_entropy(found, truth[part])
                    if teacher is not None and part == flow:
                        with torch.no_grad():
                            wanted = teacher.outputs(part, flow)
                        loss = loss + LAMBDA * functional.mse_loss(found, wanted)
            loss.backward()
            optimizer.step()
            if teacher is not None:
                with torch.no_grad():
                    for average, weight in zip(teacher.parameters(), network.parameters()):
                        average.mul_(RHO).add_(weight, alpha=1 - RHO)
            return float(loss.detach())

        return lambda: sum(map(one, networks, optimizers))

    def alone(flow: str) -> Network:
        return Network(("joint",), {"joint": TERMS[flow]})

    return {
        CASES[0]: lambda: train([Network(FLOWS, TERMS)], True),
        CASES[1]: lambda: train([Network(FLOWS, TERMS)], False),
        CASES[2]: lambda: train([alone(flow) for flow in FLOWS], False),
    }
