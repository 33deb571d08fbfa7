"""The same step of three dense tasks twice: with this library, and straight in PyTorch.

Every case is a function without arguments that builds the network, from the same NumPy weights, and
returns a training step that returns its loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CHANNELS = {"segmentation": 13, "depth": 1, "normals": 3}
BALANCERS = ("uniform", "pcgrad", "cagrad", "mgda", "mgda_ub")
# By the gradient of the representation; the peers have `mgda_ub` alone.
ON_REPRESENTATION = ("pcgrad", "cagrad")


# ---- what all workers share: weights, images, targets -------------------------------------------


def kernels(settings: dict[str, Any]) -> dict[str, list[np.ndarray]]:
    """Kernels (height, width, in, out) of all parts, two in a row at each level or head."""
    rng = np.random.default_rng(settings["seed"])
    sizes = [settings["width"] * 2**level for level in range(3)]

    def draw(taps: int, before: int, after: int) -> np.ndarray:
        scale = np.sqrt(2.0 / (taps * taps * before))
        return (rng.normal(size=(taps, taps, before, after)) * scale).astype("float32")

    found: dict[str, list[np.ndarray]] = {"encoder": [], "decoder": []}
    before = 3
    for size in sizes:
        found["encoder"] += [draw(3, before, size), draw(3, size, size)]
        before = size
    for size in (sizes[1], sizes[0], sizes[0]):
        found["decoder"] += [draw(3, before, before), draw(3, before, size)]
        before = size
    for task, channels in CHANNELS.items():
        found[task] = [draw(3, before, before), draw(1, before, channels)]
    return found


def make_data(settings: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Images and the targets of each task."""
    rng = np.random.default_rng(settings["seed"])
    shape = (settings["batch_size"], settings["size"], settings["size"])
    targets = {
        "segmentation": rng.integers(0, CHANNELS["segmentation"], shape),
        "depth": rng.normal(size=(*shape, 1)).astype("float32"),
        "normals": rng.normal(size=(*shape, 3)).astype("float32"),
    }
    return rng.normal(size=(*shape, 3)).astype("float32"), targets


def case_names() -> tuple[list[str], list[str], dict[str, str]]:
    """Names of our cases and of the peers', and for those that only we have the peers' equal."""
    theirs = [f"train {name}" for name in BALANCERS]
    # The first loss is that of the same weights; how the weights move differs.
    return theirs + [f"train {name} on representation" for name in ON_REPRESENTATION], theirs, {}


# ---- this library -------------------------------------------------------------------------------


def our_cases(settings: dict[str, Any]) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import keras

    from keras_univrep import balancers, layers
    from keras_univrep.models import MultiTaskModel

    x, y = make_data(settings)

    def network() -> keras.Model:
        arrays = kernels(settings)
        inputs = value = keras.Input((settings["size"], settings["size"], 3))
        assigned = []
        for part in ("encoder", "decoder"):
            for number, kernel in enumerate(arrays[part]):
                if part == "decoder" and number % 2 == 0:
                    value = keras.layers.UpSampling2D(2)(value)
                layer = layers.Conv2D(kernel.shape[-1], 3, padding="same", use_bias=False)
                value = layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(layer(value))
                value = keras.layers.ReLU(name=f"{part}_{number}")(value)
                if part == "encoder" and number % 2:
                    value = keras.layers.MaxPooling2D(2)(value)
                assigned.append((layer, kernel))
        outputs = {}
        for task in CHANNELS:
            head = value
            for kernel in arrays[task]:
                layer = layers.Conv2D(kernel.shape[-1], kernel.shape[0], padding="same")
                head = layer(head)
                assigned.append((layer, kernel))
            outputs[task] = head
        model = keras.Model(inputs, outputs)
        for layer, kernel in assigned:
            layer.kernel.assign(kernel)
        return model

    def train(balancer: Any, on: str | None = None) -> Callable[[], float]:
        model = MultiTaskModel(network(), shared="decoder_5")
        model.compile(
            keras.optimizers.SGD(settings["learning_rate"]),
            {
                "segmentation": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                "depth": keras.losses.MeanAbsoluteError(),
                "normals": keras.losses.MeanSquaredError(),
            },
            balancer=balancer,
            on=on,
        )

        def step() -> float:
            model.reset_metrics()
            return float(model.train_on_batch(x, y, return_dict=True)["loss"])

        return step

    made: dict[str, Callable[[], Any]] = {
        "uniform": balancers.Uniform,
        "pcgrad": lambda: balancers.PCGrad("sum", order="fixed"),
        "cagrad": lambda: balancers.CAGrad(0.5, scope="shared"),
        "mgda": balancers.MGDA,
        "mgda_ub": lambda: balancers.MGDA(scope="representation"),
    }
    cases = {f"train {name}": lambda make=make: train(make()) for name, make in made.items()}
    for name in ON_REPRESENTATION:
        cases[f"train {name} on representation"] = lambda name=name: train(
            made[name](), "representation"
        )
    return cases


# ---- the same in plain PyTorch ------------------------------------------------------------------


def peer_cases(
    settings: dict[str, Any], channels_last: bool
) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import torch
    import torch._dynamo  # Optimizers import it, in the midst of what is measured.
    from scipy import optimize
    from torch import nn
    from torch.nn import functional

    layout = torch.channels_last if channels_last else torch.contiguous_format
    x, y = make_data(settings)

    def to_images(value: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(value.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)

    def convolution(kernel: np.ndarray, bias: bool) -> nn.Conv2d:
        layer = nn.Conv2d(*kernel.shape[2:], kernel.shape[0], padding="same", bias=bias)
        layer.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        if bias:
            nn.init.zeros_(layer.bias)
        return layer

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            arrays = kernels(settings)
            parts: list[nn.Module] = []
            for part in ("encoder", "decoder"):
                for number, kernel in enumerate(arrays[part]):
                    if part == "decoder" and number % 2 == 0:
                        parts.append(nn.Upsample(scale_factor=2))
                    parts += [convolution(kernel, False), nn.BatchNorm2d(kernel.shape[-1])]
                    parts.append(nn.ReLU())
                    if part == "encoder" and number % 2:
                        parts.append(nn.MaxPool2d(2))
            self.trunk = nn.Sequential(*parts)
            self.heads = nn.ModuleDict(
                {
                    task: nn.Sequential(*(convolution(kernel, True) for kernel in arrays[task]))
                    for task in CHANNELS
                }
            )
            self.to(memory_format=layout)

    def losses_of(network: Network, features: torch.Tensor) -> list[torch.Tensor]:
        outputs = {task: head(features) for task, head in network.heads.items()}
        return [
            functional.cross_entropy(outputs["segmentation"], torch.from_numpy(y["segmentation"])),
            functional.l1_loss(outputs["depth"], to_images(y["depth"])),
            functional.mse_loss(outputs["normals"], to_images(y["normals"])),
        ]

    def min_norm(gram: np.ndarray) -> np.ndarray:
        """Frank and Wolfe's steps with the exact length, as published."""
        w = np.full(len(gram), 1 / len(gram))
        for _ in range(250):
            product = gram @ w
            corner = np.eye(len(gram))[product.argmin()]
            way = corner - w
            length = np.clip(-(way @ product) / max(way @ gram @ way, 1e-12), 0, 1)
            w = w + length * way
            if np.abs(length * way).sum() < 1e-6:
                break
        return w

    def cagrad(gradients: torch.Tensor) -> torch.Tensor:
        gram = (gradients @ gradients.T).double().numpy()
        size = np.sqrt(gram.mean() + 1e-8)
        even = np.full(len(gram), 1 / len(gram))

        def objective(w: np.ndarray) -> float:
            return w @ gram @ even + 0.5 * size * np.sqrt(w @ gram @ w + 1e-8)

        w = optimize.minimize(
            objective,
            even,
            bounds=[(0, 1)] * len(gram),
            constraints={"type": "eq", "fun": lambda w: 1 - w.sum()},
        ).x
        towards = torch.from_numpy(w).float() @ gradients
        return (gradients.mean(0) + 0.5 * size / (towards.norm() + 1e-8) * towards) / 1.25

    def pcgrad(gradients: torch.Tensor) -> torch.Tensor:
        total = torch.zeros_like(gradients[0])
        for i in range(len(gradients)):
            row = gradients[i].clone()
            for other in gradients:
                product = row @ other
                if product < 0:
                    row -= product / other.norm().pow(2) * other
            total += row
        return total

    def train(name: str) -> Callable[[], float]:
        network = Network()
        shared = list(network.trunk.parameters())
        optimizer = torch.optim.SGD(network.parameters(), settings["learning_rate"])

        def by_parameters(losses: list[torch.Tensor]) -> None:
            rows = []
            for loss in losses:
                for parameter in shared:
                    parameter.grad = None
                # The heads' gradients add up on the way.
                loss.backward(retain_graph=True)
                rows.append(torch.cat([parameter.grad.flatten() for parameter in shared]))
            gradients = torch.stack(rows)
            if name == "mgda":
                w = torch.from_numpy(min_norm((gradients @ gradients.T).double().numpy())).float()
                step = w @ gradients
                for weight, head in zip(w, network.heads.values()):
                    for parameter in head.parameters():
                        parameter.grad *= weight
            else:
                step = {"pcgrad": pcgrad, "cagrad": cagrad}[name](gradients)
            start = 0
            for parameter in shared:
                part = step[start : start + parameter.numel()]
                parameter.grad = part.view_as(parameter).clone()
                start += parameter.numel()

        def by_features(features: torch.Tensor, cut: torch.Tensor, losses: list) -> None:
            rows = [torch.autograd.grad(loss, cut, retain_graph=True)[0] for loss in losses]
            gradients = torch.stack([row.flatten() for row in rows])
            w = torch.from_numpy(min_norm((gradients @ gradients.T).double().numpy())).float()
            sum(weight * loss for weight, loss in zip(w, losses)).backward()
            features.backward(cut.grad)

        def step() -> float:
            optimizer.zero_grad()
            features = network.trunk(to_images(x))
            cut = features.detach().requires_grad_() if name == "mgda_ub" else features
            losses = losses_of(network, cut)
            if name == "uniform":
                sum(losses).backward()
            elif name == "mgda_ub":
                by_features(features, cut, losses)
            else:
                by_parameters(losses)
            optimizer.step()
            return float(sum(losses).detach())

        return step

    return {f"train {name}": lambda name=name: train(name) for name in BALANCERS}
