"""The same distillation step twice: with this library, and straight in PyTorch.

Every case is a function without arguments that builds the networks, from the same NumPy weights,
and returns one step: a training step that returns its loss, or an inference that returns logits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

CLASSES = 10


# ---- what all workers share: weights and images -------------------------------------------------


def network_arrays(seed: int, width: float, heads: int) -> dict[str, Any]:
    """Weights of a ResNet-26 and its classifiers, kernels as (height, width, in, out)."""
    rng = np.random.default_rng(seed)
    sizes = [max(1, round(size * width)) for size in (32, 64, 128, 256)]
    channels = [(3, sizes[0])]
    for before, size in zip(sizes, sizes[1:]):
        channels += [(before, size)] + [(size, size)] * 7

    def draw(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * np.sqrt(2.0 / np.prod(shape[:-1]))).astype("float32")

    units = []
    for number, (before, size) in enumerate(channels):
        # A small scale at the end of each block, or untrained teachers' features explode.
        scale = 0.3 if number and number % 2 == 0 else 1.0
        units.append((draw(3, 3, before, size), np.full(size, scale, "float32")))
    return {"units": units, "heads": [draw(sizes[-1], CLASSES) for _ in range(heads)]}


def make_data(settings: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Images and labels of each domain."""
    rng = np.random.default_rng(settings["seed"])
    shape = (settings["batch_size"], settings["size"], settings["size"], 3)
    names = domain_names(settings)
    x = {name: rng.normal(size=shape).astype("float32") for name in names}
    return x, {name: rng.integers(0, CLASSES, shape[0]) for name in names}


def domain_names(settings: dict[str, Any]) -> list[str]:
    """One domain for each teacher of the largest case."""
    return [f"domain{i}" for i in range(max(settings["teachers"]))]


def case_names(settings: dict[str, Any]) -> tuple[list[str], list[str], dict[str, str]]:
    """Names of our cases and of the peers', and for those that only we have the peers' equal."""
    most = max(settings["teachers"])
    theirs = [f"train {count}" for count in (0, *settings["teachers"])]
    theirs += ["teacher forward", "infer, 1 domains", f"infer, {most} domains"]
    # A student predicts the same whatever it is to be distilled from.
    same = {f"infer, {count} teachers": f"infer, {most} domains" for count in (1, most)}
    # Nor does it matter when its teachers answered.
    same |= {f"train {count} cached": f"train {count}" for count in settings["teachers"]}
    return theirs + list(same), theirs, same


# ---- this library -------------------------------------------------------------------------------


def our_cases(settings: dict[str, Any]) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import keras

    from keras_univrep.backbones import ResNet26
    from keras_univrep.models import MultiDomainModel, UniversalDistiller, cache_teacher

    names = domain_names(settings)
    x, y = make_data(settings)

    def network(seed: int, domains: list[str]) -> MultiDomainModel:
        backbone = ResNet26(width=settings["width"], end_activation=False)
        model = MultiDomainModel(backbone, dict.fromkeys(domains, CLASSES))
        arrays = network_arrays(seed, settings["width"], len(domains))
        units = [backbone.stem]
        for block in backbone.blocks:
            units += [block.unit1, block.unit2]
        for unit, (kernel, scale) in zip(units, arrays["units"], strict=True):
            unit.convolution.kernel.assign(kernel)
            unit.normalization.gamma.assign(scale)
        for head, kernel in zip(model.heads, arrays["heads"], strict=True):
            head.kernel.assign(kernel)
        return model

    def teachers_of(count: int) -> dict[str, MultiDomainModel]:
        return {name: network(1 + i, [name]) for i, name in enumerate(names[:count])}

    def distiller(teachers: dict[str, Any]) -> UniversalDistiller:
        model = UniversalDistiller.preset(
            "released", network(0, names), teachers, steps=10**6, annealing=None
        )
        for adapter in model.alignment_adapters:
            adapter.kernel.assign(np.eye(adapter.kernel.shape[0], dtype="float32"))
        return model

    def train(count: int) -> Callable[[], float]:
        model = distiller(teachers_of(count)) if count else network(0, names)
        model.compile(UniversalDistiller.preset_optimizer(steps=10**6))

        def step() -> float:
            model.reset_metrics()
            return float(model.train_on_batch(x, y, return_dict=True)["loss"])

        return step

    def train_cached(count: int) -> Callable[[], float]:
        caches = {
            name: cache_teacher(teacher, [x[name]]) for name, teacher in teachers_of(count).items()
        }
        model, samples = distiller(caches), np.arange(settings["batch_size"])
        model.compile(UniversalDistiller.preset_optimizer(steps=10**6))

        def step() -> float:
            model.reset_metrics()
            targets = {name: cache.take(samples) for name, cache in caches.items()}
            batch = {"images": x, "targets": targets}
            return float(model.train_on_batch(batch, y, return_dict=True)["loss"])

        return step

    def infer(model: keras.Model) -> Callable[[], Any]:
        images = {names[0]: x[names[0]]}
        return lambda: model.predict_on_batch(images)[names[0]]

    counts = [0, *settings["teachers"]]
    cases: dict[str, Callable[[], Callable[[], Any]]] = {
        f"train {count}": lambda count=count: train(count) for count in counts
    }
    for count in settings["teachers"]:
        cases[f"train {count} cached"] = lambda count=count: train_cached(count)
    cases["teacher forward"] = lambda: infer(network(1, names[:1]))
    for count in (1, len(names)):
        cases[f"infer, {count} teachers"] = lambda count=count: infer(
            distiller(teachers_of(count)).student
        )
        cases[f"infer, {count} domains"] = lambda count=count: infer(network(0, names[:count]))
    return cases


# ---- the same in plain PyTorch ------------------------------------------------------------------


def peer_cases(
    settings: dict[str, Any], channels_last: bool
) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import torch
    from torch import nn
    from torch.nn import functional

    if any("train" in case for case in settings["cases"]):
        # Optimizers import it, in the midst of what is measured.
        import torch._dynamo  # noqa: F401

    names = domain_names(settings)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    x, y = make_data(settings)

    def to_images(value: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(value.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)

    class Network(nn.Module):
        def __init__(self, seed: int, domains: list[str]) -> None:
            super().__init__()
            arrays = network_arrays(seed, settings["width"], len(domains))
            self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
            for number, (kernel, scale) in enumerate(arrays["units"]):
                stride = 2 if number % 8 == 1 else 1
                before, size = kernel.shape[2:]
                layer = nn.Conv2d(before, size, 3, stride, 1, bias=False)
                layer.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
                norm = nn.BatchNorm2d(size)
                norm.weight.data = torch.from_numpy(scale.copy())
                self.convolutions.append(layer)
                self.norms.append(norm)
            self.end = nn.BatchNorm2d(size)
            self.heads = nn.ModuleDict()
            for name, kernel in zip(domains, arrays["heads"]):
                self.heads[name] = nn.Linear(*kernel.shape)
                self.heads[name].weight.data = torch.from_numpy(kernel.T.copy())
                self.heads[name].bias.data.zero_()
            self.to(memory_format=layout)

        def features(self, images: torch.Tensor) -> torch.Tensor:
            value = self.norms[0](self.convolutions[0](images))
            for i in range(1, len(self.norms), 2):
                inner = functional.relu(self.norms[i](self.convolutions[i](value)))
                inner = self.norms[i + 1](self.convolutions[i + 1](inner))
                if self.convolutions[i].stride[0] == 2:
                    value = functional.avg_pool2d(value, 2)
                    value = torch.cat([value, torch.zeros_like(value)], 1)
                value = functional.relu(value + inner)
            return self.end(value).mean((2, 3))

    def centred_kernel(value: torch.Tensor) -> torch.Tensor:
        value = functional.normalize(value)
        squares = (value**2).sum(1)
        distances = (squares[:, None] + squares[None] - 2 * value @ value.T).clamp(min=0)
        distances = distances * (1 - torch.eye(len(value)))
        width = distances.detach()[distances > 0].median()
        kernel = torch.exp(-distances / (2 * width))
        centring = torch.eye(len(value)) - 1 / len(value)
        return centring @ kernel @ centring

    def cka_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        p, t = centred_kernel(student), centred_kernel(teacher)
        return 1 - (p * t).sum() / ((p * p).sum().sqrt() * (t * t).sum().sqrt())

    def kl_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        log_q = functional.log_softmax(student / 8, 1)
        p = functional.softmax(teacher / 8, 1)
        return 64 * functional.kl_div(log_q, p, reduction="batchmean")

    def train(count: int) -> Callable[[], float]:
        student = Network(0, names)
        teachers = {name: Network(1 + i, [name]).eval() for i, name in enumerate(names[:count])}
        adapters = nn.ModuleDict(
            {
                name: nn.Linear(f, f, bias=False)
                for name in teachers
                for f in [len(student.end.weight)]
            }
        )
        for adapter in adapters.values():
            nn.init.eye_(adapter.weight)
        rule = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
        optimizers = [torch.optim.SGD(student.parameters(), **rule)]
        if count:
            optimizers.append(torch.optim.Adam(adapters.parameters(), 0.01, weight_decay=5e-4))

        def step() -> float:
            images = {name: to_images(value) for name, value in x.items()}
            joint = torch.cat([images[name] for name in names])
            features = dict(zip(names, student.features(joint).split(settings["batch_size"])))
            total = torch.zeros(())
            for name in names:
                logits = student.heads[name](features[name])
                total = total + functional.cross_entropy(logits, torch.from_numpy(y[name]))
                if name in teachers:
                    with torch.no_grad():
                        target = teachers[name].features(images[name])
                        target_logits = teachers[name].heads[name](target)
                    total = total + cka_loss(adapters[name](features[name]), target)
                    total = total + kl_loss(logits, target_logits)
            for optimizer in optimizers:
                optimizer.zero_grad()
            total.backward()
            for optimizer in optimizers:
                optimizer.step()
            return float(total.detach())

        return step

    def infer(model: Network) -> Callable[[], Any]:
        def step() -> np.ndarray:
            with torch.no_grad():
                return model.heads[names[0]](model.features(to_images(x[names[0]]))).numpy()

        return step

    counts = [0, *settings["teachers"]]
    cases: dict[str, Callable[[], Callable[[], Any]]] = {
        f"train {count}": lambda count=count: train(count) for count in counts
    }
    cases["teacher forward"] = lambda: infer(Network(1, names[:1]).eval())
    for count in (1, len(names)):
        cases[f"infer, {count} domains"] = lambda count=count: infer(
            Network(0, names[:count]).eval()
        )
    return cases
