"""X-Learner's steps twice: with this library, and straight in PyTorch.

Two tasks with a source each: classes of images, and classes of the positions of the last map. Every
case is a function without arguments that builds the networks, from the same NumPy weights, and
returns one step: a training step that returns its loss, or an inference that returns the means of
the last maps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

TASKS = ("classes", "pixels")
CLASSES = 10
FILTERS = (64, 128, 256, 512)
UNITS = 2
LEVELS = tuple(f"level{number}" for number in range(1, len(FILTERS) + 1))
INFER = ("infer plain", "infer expanded", "infer squeezed")
TRAIN = (*(f"train {task} alone" for task in TASKS), "train joint", "train squeeze")
Cases = dict[str, Callable[[], Callable[[], Any]]]


def filters_of(settings: dict[str, Any]) -> list[int]:
    """Channels of each level."""
    return [max(1, round(size * settings["width"])) for size in FILTERS]


def links() -> list[tuple[str, int, str]]:
    """What the last level of each task takes from the levels of the others: (from, level, to)."""
    numbers = range(1, len(LEVELS) + 1)
    return [(k, j, t) for t in TASKS for k in TASKS if k != t for j in numbers]


def kernels(settings: dict[str, Any]) -> dict[str, list[np.ndarray]]:
    """Kernels (height, width, in, out) of each part, in the order in which it uses them."""
    rng = np.random.default_rng(settings["seed"])
    sizes = filters_of(settings)

    def draw(taps: int, before: int, after: int) -> np.ndarray:
        scale = np.sqrt(2.0 / (taps * taps * before))
        return (rng.normal(size=(taps, taps, before, after)) * scale).astype("float32")

    found: dict[str, list[np.ndarray]] = {}
    for name in (*TASKS, "student"):
        channels = [3, *itertools.chain.from_iterable([size] * UNITS for size in sizes)]
        found[name] = [draw(3, a, b) for a, b in zip(channels, channels[1:])]
    for k, j, t in links():
        way = sizes[j - 1 :]
        steps = [draw(3, a, b) for a, b in zip(way, way[1:])]
        found[f"{k}_{j}_{t}"] = [draw(1, way[0], way[0]), *steps]
    for name in TASKS:
        found[f"{name}_head"] = [draw(1, sizes[-1], CLASSES)]
        found[f"{name}_guidance"] = [draw(1, sizes[-1], sizes[-1])]
    return found


def make_data(settings: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Images and targets of each task."""
    rng = np.random.default_rng(settings["seed"])
    size, batch = settings["size"], settings["batch_size"]
    x = {task: rng.normal(size=(batch, size, size, 3)).astype("float32") for task in TASKS}
    side = size // 2 ** len(LEVELS)
    shapes = {"classes": (batch,), "pixels": (batch, side, side)}
    return x, {task: rng.integers(0, CLASSES, shapes[task]) for task in TASKS}


# ---- this library -------------------------------------------------------------------------------


def our_cases(settings: dict[str, Any]) -> Cases:
    """Each case as a function that builds it and returns its step."""
    import keras

    from keras_univrep.layers import BatchNormalization, Conv2D
    from keras_univrep.models import XLearnerExpansion, XLearnerSqueeze

    x, y = make_data(settings)
    arrays = kernels(settings)
    size = settings["size"]

    def backbone(name: str) -> keras.Model:
        images = z = keras.Input((size, size, 3))
        layers = []
        for level, filters in zip(LEVELS, filters_of(settings)):
            for unit in range(UNITS):
                layers.append(Conv2D(filters, 3, 1 if unit else 2, padding=1, use_bias=False))
                z = BatchNormalization()(layers[-1](z))
                z = keras.layers.ReLU(name=level if unit == UNITS - 1 else None)(z)
        for layer, kernel in zip(layers, arrays[name], strict=True):
            layer.kernel.assign(kernel)
        return keras.Model(images, z)

    def head(task: str) -> keras.Sequential:
        pooled = [keras.layers.GlobalAveragePooling2D(keepdims=True)] if task == "classes" else []
        last = Conv2D(CLASSES, 1)
        flat = [keras.layers.Flatten()] if task == "classes" else []
        model = keras.Sequential([*pooled, last, *flat])
        side = size // 2 ** len(LEVELS)
        model.build((None, side, side, filters_of(settings)[-1]))
        last.kernel.assign(arrays[f"{task}_head"][0])
        return model

    def expansion(tasks: tuple[str, ...]) -> XLearnerExpansion:
        model = XLearnerExpansion(
            {task: backbone(task) for task in tasks},
            {task: {"source": head(task)} for task in tasks},
            LEVELS,
        )
        for layer in model.reconciliation_layers:
            name = layer.name.removeprefix("reconcile_").rpartition("_")[0]
            for convolution, kernel in zip(layer.convolutions, arrays[name], strict=True):
                convolution.kernel.assign(kernel)
        return model

    def optimizer() -> keras.optimizers.Optimizer:
        return keras.optimizers.SGD(settings["learning_rate"])

    def train(model: keras.Model, *data: Any) -> Callable[[], float]:
        def step() -> float:
            model.reset_metrics()
            return float(model.train_on_batch(*data, return_dict=True)["loss"])

        return step

    def train_tasks(tasks: tuple[str, ...]) -> Callable[[], float]:
        model = expansion(tasks)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer(), dict.fromkeys(tasks, loss))
        return train(model, *({task: {"source": v[task]} for task in tasks} for v in (x, y)))

    def train_squeeze() -> Callable[[], float]:
        model = XLearnerSqueeze(expansion(TASKS), backbone("student"), LEVELS)
        for task, layer in zip(TASKS, model.guidance_layers, strict=True):
            layer.kernel.assign(arrays[f"{task}_guidance"][0][0, 0])
        model.compile(optimizer())
        return train(model, {task: {"source": x[task]} for task in TASKS})

    def infer(model: keras.Model) -> Callable[[], np.ndarray]:
        images = keras.Input((size, size, 3))
        maps = model.features(images) if isinstance(model, XLearnerExpansion) else model(images)
        last = [v[-1] for v in maps.values()] if isinstance(maps, dict) else [maps]
        pool = keras.layers.GlobalAveragePooling2D()
        network = keras.Model(images, [pool(value) for value in last])

        def step() -> np.ndarray:
            found = network.predict_on_batch(x["classes"])
            return np.concatenate(found if isinstance(found, list) else [found], axis=-1)

        return step

    def squeezed() -> keras.Model:
        return XLearnerSqueeze(expansion(TASKS), backbone("student"), LEVELS).student

    cases: Cases = {
        "infer plain": lambda: infer(backbone("classes")),
        "infer expanded": lambda: infer(expansion(TASKS)),
        "infer squeezed": lambda: infer(squeezed()),
        "train joint": lambda: train_tasks(TASKS),
        "train squeeze": train_squeeze,
    }
    for task in TASKS:
        cases[f"train {task} alone"] = lambda task=task: train_tasks((task,))
    return cases


# ---- the same in plain PyTorch ------------------------------------------------------------------


def peer_cases(settings: dict[str, Any], channels_last: bool) -> Cases:
    """Each case as a function that builds it and returns its step."""
    import torch
    import torch._dynamo  # Optimizers import it, in the midst of what is measured.
    from torch import nn
    from torch.nn import functional

    layout = torch.channels_last if channels_last else torch.contiguous_format
    x, y = make_data(settings)
    targets = {task: torch.from_numpy(value) for task, value in y.items()}
    arrays = kernels(settings)

    def to_images(value: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(value.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)

    def convolution(kernel: np.ndarray, stride: int = 1, bias: bool = False) -> nn.Conv2d:
        taps, _, before, after = kernel.shape
        layer = nn.Conv2d(before, after, taps, stride, taps // 2, bias=bias)
        layer.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        if bias:
            nn.init.zeros_(layer.bias)
        return layer

    def unit(kernel: np.ndarray, stride: int = 1) -> list[nn.Module]:
        return [convolution(kernel, stride), nn.BatchNorm2d(kernel.shape[-1])]

    class Backbone(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            found = iter(arrays[name])
            self.levels = nn.ModuleList()
            for _ in LEVELS:
                parts: list[nn.Module] = []
                for number in range(UNITS):
                    parts += [*unit(next(found), 1 if number else 2), nn.ReLU()]
                self.levels.append(nn.Sequential(*parts))

        def forward(self, z: torch.Tensor) -> list[torch.Tensor]:
            maps = []
            for level in self.levels:
                z = level(z)
                maps.append(z)
            return maps

    def gamma(name: str) -> nn.Sequential:
        first, *steps = arrays[name]
        parts = unit(first)
        for kernel in steps:
            parts += [nn.ReLU(), *unit(kernel, 2)]
        return nn.Sequential(*parts)

    class Expansion(nn.Module):
        def __init__(self, tasks: tuple[str, ...]) -> None:
            super().__init__()
            self.backbones = nn.ModuleDict({task: Backbone(task) for task in tasks})
            self.gammas = nn.ModuleDict(
                {f"{k}_{j}_{t}": gamma(f"{k}_{j}_{t}") for k, j, t in links() if {k, t} <= {*tasks}}
            )
            self.heads = nn.ModuleDict(
                {task: convolution(arrays[f"{task}_head"][0], bias=True) for task in tasks}
            )
            self.to(memory_format=layout)

        def fused(self, task: str, maps: dict[str, list]) -> torch.Tensor:
            total = maps[task][-1]
            for k, j, t in links():
                if t == task and k in maps:
                    total = total + self.gammas[f"{k}_{j}_{t}"](maps[k][j - 1])
            return total

        def learn(self, task: str) -> torch.Tensor:
            """The loss of a task, while the other sub-backbones answer as at inference."""
            images = to_images(x[task])
            maps = {task: self.backbones[task](images)}
            with torch.no_grad():
                for other, network in self.backbones.items():
                    if other != task:
                        network.eval()
                        maps[other] = network(images)
                        network.train()
            z = self.fused(task, maps)
            if task == "classes":
                z = z.mean((2, 3), keepdim=True)
            logits = self.heads[task](z)
            return functional.cross_entropy(
                logits.flatten(1) if task == "classes" else logits, targets[task]
            )

        @torch.no_grad()
        def answer(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
            maps = {task: network(images) for task, network in self.backbones.items()}
            return {task: self.fused(task, maps) for task in maps}

    def stepper(parts: list[nn.Module], loss: Callable[[], torch.Tensor]) -> Callable[[], float]:
        parameters = [p for part in parts for p in part.parameters()]
        optimizer = torch.optim.SGD(parameters, settings["learning_rate"])

        def step() -> float:
            optimizer.zero_grad()
            value = loss()
            value.backward()
            optimizer.step()
            return float(value.detach())

        return step

    def train_tasks(tasks: tuple[str, ...]) -> Callable[[], float]:
        network = Expansion(tasks).train()
        return stepper([network], lambda: sum(map(network.learn, tasks)) / len(tasks))

    def train_squeeze() -> Callable[[], float]:
        teacher = Expansion(TASKS).eval()
        student = Backbone("student").to(memory_format=layout)
        guidances = {
            task: nn.Sequential(*unit(arrays[f"{task}_guidance"][0])).to(memory_format=layout)
            for task in TASKS
        }

        def loss() -> torch.Tensor:
            images = to_images(np.concatenate([x[task] for task in TASKS]))
            hints, last = teacher.answer(images), student(images)[-1]
            return sum(functional.mse_loss(guidances[t](last), hints[t]) for t in TASKS)

        return stepper([student, *guidances.values()], loss)

    def infer(network: Any) -> Callable[[], np.ndarray]:
        network.to(memory_format=layout).eval()

        @torch.no_grad()
        def step() -> np.ndarray:
            images = to_images(x["classes"])
            whole = isinstance(network, Expansion)
            maps = [*network.answer(images).values()] if whole else [network(images)[-1]]
            return torch.cat([value.mean((2, 3)) for value in maps], dim=1).numpy()

        return step

    cases: Cases = {
        "infer plain": lambda: infer(Backbone("classes")),
        "infer expanded": lambda: infer(Expansion(TASKS)),
        "infer squeezed": lambda: infer(Backbone("student")),
        "train joint": lambda: train_tasks(TASKS),
        "train squeeze": train_squeeze,
    }
    for task in TASKS:
        cases[f"train {task} alone"] = lambda task=task: train_tasks((task,))
    return cases
