"""The same step of three dense tasks twice: with this library, and straight in PyTorch.

Every case is a function without arguments that builds the network, from the same NumPy weights, and
returns a training step that returns its loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

CHANNELS = {"segmentation": 13, "depth": 1, "normals": 3}
BALANCERS = ("uniform", "pcgrad", "cagrad", "mgda", "mgda_ub")
FILTERS = (64, 128, 256, 512, 512)
CONVOLUTIONS = (2, 2, 3, 3, 3)
PARTS = ("convolution", "projection")
# By the gradient of the representation; the peers have `mgda_ub` alone.
ON_REPRESENTATION = ("pcgrad", "cagrad")
# Steps whose gradients, and not their losses alone, must be those of the peers.
EXACT = ("uniform", "pcgrad")
PROBES = 256  # Numbers of each kernel's gradient that are compared.


# ---- what all workers share: weights, images, targets -------------------------------------------


def kernels(settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """Kernels (height, width, in, out) by name, in the order in which SegNet uses them."""
    rng = np.random.default_rng(settings["seed"])
    filters = [max(1, round(size * settings["width"])) for size in FILTERS]
    found = {}

    def draw(name: str, taps: int, before: int, after: int) -> int:
        scale = np.sqrt(2.0 / (taps * taps * before))
        shape = (taps, taps, before, after)
        found[name] = (rng.normal(size=shape) * scale).astype("float32")
        return after

    channels = 3
    for level, count in enumerate(CONVOLUTIONS, start=1):
        for unit in range(1, count + 1):
            channels = draw(f"encoder{level}_unit{unit}", 3, channels, filters[level - 1])
    for level in range(len(CONVOLUTIONS), 0, -1):
        for unit in range(1, CONVOLUTIONS[level - 1] + 1):
            after = filters[max(level - 2, 0)]
            channels = draw(f"decoder{level}_unit{unit}", 3, channels, after)
    for task, outputs in CHANNELS.items():
        draw(f"{task}_convolution", 3, channels, channels)
        draw(f"{task}_projection", 1, channels, outputs)
    return found


def make_data(settings: dict[str, Any]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Images and the targets of each task, with pixels that have none."""
    rng = np.random.default_rng(settings["seed"])
    shape = (settings["batch_size"], settings["size"], settings["size"])
    known = rng.uniform(size=(*shape, 1)) < 0.9
    normals = rng.normal(size=(*shape, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    targets = {
        "segmentation": rng.integers(-1, CHANNELS["segmentation"], shape),
        "depth": (known * rng.uniform(1.0, 5.0, (*shape, 1))).astype("float32"),
        "normals": (known * normals).astype("float32"),
    }
    return rng.uniform(size=(*shape, 3)).astype("float32"), targets


def case_names(balancers: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of our cases, and of the peers', of some of `BALANCERS`."""
    theirs = [f"train {name}" for name in balancers]
    shared = [f"train {name} on representation" for name in ON_REPRESENTATION if name in balancers]
    return theirs + shared, theirs


def probes(settings: dict[str, Any], gradients: dict[str, np.ndarray]) -> np.ndarray:
    """The same numbers of the gradient of each shared kernel, which has the shape of `kernels`."""
    rng = np.random.default_rng(settings["seed"])
    return np.concatenate(
        [
            gradients[name].ravel()[rng.integers(0, kernel.size, PROBES)]
            for name, kernel in kernels(settings).items()
            if name.rpartition("_")[0] not in CHANNELS
        ]
    )


# ---- this library -------------------------------------------------------------------------------


def our_cases(settings: dict[str, Any]) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import keras

    from keras_univrep import backbones, balancers, losses
    from keras_univrep.models import MultiTaskModel

    x, y = make_data(settings)

    def network(dtype: str) -> keras.Model:
        model = backbones.SegNet(CHANNELS, settings["width"], dtype=dtype)
        for name, kernel in kernels(settings).items():
            task, _, part = name.rpartition("_")
            if task in CHANNELS:
                layer = getattr(model.get_layer(f"{task}_head"), part)
            else:
                layer = model.get_layer(f"{name}_conv")
            layer.kernel.assign(kernel)
        return model

    def compiled(
        balancer: Any, optimizer: Any, on: str | None = None, dtype: str = "float32"
    ) -> keras.Model:
        model = MultiTaskModel(network(dtype), shared="features")
        model.compile(
            optimizer,
            {
                "segmentation": losses.SegmentationCrossEntropy(),
                "depth": losses.DepthL1(),
                "normals": losses.NormalCosine(),
            },
            balancer=balancer,
            on=on,
        )
        return model

    def gradient(make: Callable[[], Any]) -> Callable[[], np.ndarray]:
        # In single precision a maximum that goes to another pixel changes a fifth of the gradient.
        # The momentum after the first step is the gradient, but for its sign.
        optimizer = keras.optimizers.SGD(1.0, momentum=0.9)
        model = compiled(make(), optimizer, dtype="float64")

        def step() -> np.ndarray:
            model.train_on_batch(x, y)
            momenta = optimizer.variables[-len(model.trainable_variables) :]
            found = {
                variable.path.split("/")[-2].removesuffix("_conv"): keras.ops.convert_to_numpy(m)
                for variable, m in zip(model.trainable_variables, momenta, strict=True)
                if variable.path.endswith("_conv/kernel")
            }
            return -probes(settings, found)

        return step

    def train(balancer: Any, on: str | None = None) -> Callable[[], float]:
        model = compiled(balancer, keras.optimizers.SGD(settings["learning_rate"]), on)

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
    for name in EXACT:
        cases[f"gradient {name}"] = lambda name=name: gradient(made[name])
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

    def convolution(kernel: np.ndarray) -> nn.Conv2d:
        layer = nn.Conv2d(*kernel.shape[2:], kernel.shape[0], padding="same")
        layer.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        nn.init.zeros_(layer.bias)
        return layer

    class Trunk(nn.Module):
        def __init__(self, arrays: dict[str, np.ndarray]) -> None:
            super().__init__()

            def level(part: str, number: int) -> nn.Sequential:
                units: list[nn.Module] = []
                for unit in range(1, CONVOLUTIONS[number - 1] + 1):
                    kernel = arrays[f"{part}{number}_unit{unit}"]
                    units += [convolution(kernel), nn.BatchNorm2d(kernel.shape[-1]), nn.ReLU()]
                return nn.Sequential(*units)

            numbers = range(1, len(CONVOLUTIONS) + 1)
            self.encoder = nn.ModuleList(level("encoder", number) for number in numbers)
            self.decoder = nn.ModuleList(level("decoder", n) for n in reversed(numbers))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            places = []
            for part in self.encoder:
                x, where = functional.max_pool2d(part(x), 2, return_indices=True)
                places.append(where)
            for part in self.decoder:
                x = part(functional.max_unpool2d(x, places.pop(), 2))
            return x

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            arrays = kernels(settings)
            self.trunk = Trunk(arrays)
            self.heads = nn.ModuleDict(
                {
                    task: nn.Sequential(*(convolution(arrays[f"{task}_{part}"]) for part in PARTS))
                    for task in CHANNELS
                }
            )
            self.to(memory_format=layout)

    labels = torch.from_numpy(y["segmentation"])
    depth, normals = to_images(y["depth"]), to_images(y["normals"])

    def losses_of(network: Network, features: torch.Tensor) -> list[torch.Tensor]:
        outputs = {task: head(features) for task, head in network.heads.items()}
        known = depth != 0
        towards = functional.normalize(outputs["normals"], dim=1)
        return [
            functional.cross_entropy(outputs["segmentation"], labels, ignore_index=-1),
            ((outputs["depth"] - depth).abs() * known).sum() / known.sum(),
            1 - (towards * normals).sum() / (normals != 0).any(1).sum(),
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

    def prepared(
        name: str, dtype: torch.dtype = torch.float32
    ) -> tuple[Network, Callable[[], float]]:
        network = Network().to(dtype)
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
            features = network.trunk(to_images(x).to(dtype))
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

        return network, step

    def gradient(name: str) -> Callable[[], np.ndarray]:
        network, step = prepared(name, torch.float64)

        def gradients() -> np.ndarray:
            step()
            trunk, found = network.trunk, {}
            decoder = list(reversed(trunk.decoder))
            for number, count in enumerate(CONVOLUTIONS, start=1):
                for unit in range(1, count + 1):
                    for part, levels in (("encoder", trunk.encoder), ("decoder", decoder)):
                        layer = levels[number - 1][3 * (unit - 1)]
                        turned = layer.weight.grad.permute(2, 3, 1, 0)
                        found[f"{part}{number}_unit{unit}"] = turned.numpy()
            return probes(settings, found)

        return gradients

    cases: dict[str, Callable[[], Callable[[], Any]]] = {}
    for name in BALANCERS:
        cases[f"train {name}"] = lambda name=name: prepared(name)[1]
    for name in EXACT:
        cases[f"gradient {name}"] = lambda name=name: gradient(name)
    return cases
