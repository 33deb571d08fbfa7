"""ResNet-26 with parallel residual adapters twice: with this library, and straight in PyTorch.

Every case is a function without arguments that builds the network, from the same NumPy weights,
and returns one step: a training step that returns its loss, or an inference that returns logits.
"""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

CLASSES = 100
CASES = (
    "inference",
    "inference plain",
    "inference fused",
    "inference many domains",
    "adapters-only training",
    "full training",
)
# The peer cannot fuse, and a fused network must give the logits of the one it was made of.
SAME = {"inference fused": "inference"}


# ---- what all workers share: weights and images -------------------------------------------------


def network_arrays(settings: dict[str, Any]) -> dict[str, Any]:
    """Weights of a ResNet-26 of one domain, kernels as (height, width, in, out)."""
    rng = np.random.default_rng(settings["seed"])
    sizes = [max(1, round(size * settings["width"])) for size in (32, 64, 128, 256)]
    channels = [(3, sizes[0])]
    for before, size in zip(sizes, sizes[1:]):
        channels += [(before, size)] + [(size, size)] * 7

    def draw(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * np.sqrt(2.0 / np.prod(shape[:-1]))).astype("float32")

    def normalization(size: int, scale: float) -> list[np.ndarray]:
        """Scale, shift, mean and variance: as after a training, so that folding them shows."""
        gamma, variance = rng.uniform(0.5 * scale, 1.5 * scale, size), rng.uniform(0.5, 1.5, size)
        beta, mean = rng.normal(size=(2, size)) * 0.1
        return [value.astype("float32") for value in (gamma, beta, mean, variance)]

    units = []
    for number, (before, size) in enumerate(channels):
        # A small scale at the end of each block, or features grow from block to block.
        scale = 0.3 if number and number % 2 == 0 else 1.0
        units.append(
            {
                "kernel": draw(3, 3, before, size),
                "adapter": draw(1, 1, before, size) / 3,
                "normalization": normalization(size, scale),
            }
        )
    return {
        "units": units,
        "end": normalization(sizes[-1], 1.0),
        "head": draw(sizes[-1], CLASSES),
    }


def make_data(settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Images (batch, height, width, 3) and labels (batch,) of the first domain."""
    rng = np.random.default_rng(settings["seed"] + 1)
    shape = (settings["batch_size"], settings["size"], settings["size"], 3)
    return rng.normal(size=shape).astype("float32"), rng.integers(0, CLASSES, shape[0])


def domain_names(settings: dict[str, Any]) -> list[str]:
    """The domains of the largest case."""
    return [f"domain{i}" for i in range(settings["domains"])]


# ---- this library -------------------------------------------------------------------------------


def our_network(settings: dict[str, Any], domains: int = 1, adapted: bool = True) -> Any:
    """The network with the shared weights; domains after the first are as they were made."""
    from keras_univrep.backbones import ResNet26
    from keras_univrep.models import MultiDomainModel

    names = domain_names(settings)[:domains]
    extra = {"domains": names, "adapter": "parallel"} if adapted else {}
    model = MultiDomainModel(
        ResNet26(width=settings["width"], **extra), dict.fromkeys(names, CLASSES)
    )
    arrays = network_arrays(settings)
    pairs = [(model.backbone.end_normalization, arrays["end"])]
    for unit, values in zip(our_units(model), arrays["units"], strict=True):
        unit.kernel.assign(values["kernel"])
        if adapted:
            unit.convolution.adapter_kernel(names[0]).assign(values["adapter"])
        pairs.append((unit.normalization, values["normalization"]))
    for layer, values in pairs:
        (layer.normalization(names[0]) if adapted else layer).set_weights(values)
    model.head(names[0]).kernel.assign(arrays["head"])
    return model


def write_fused(settings: dict[str, Any], path: str) -> None:
    """Writes the network of the first domain as one without adapters."""
    from keras_univrep.compression import fuse

    fuse(our_network(settings), domain_names(settings)[0]).save(path)


def our_units(model: Any) -> list[Any]:
    """The 25 convolutions with what is around them."""
    units = [model.backbone.stem]
    for block in model.backbone.blocks:
        units += [block.unit1, block.unit2]
    return units


def our_cases(settings: dict[str, Any]) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import keras

    import keras_univrep.models  # noqa: F401  (so that no case is charged for the import)

    name = domain_names(settings)[0]
    images, labels = make_data(settings)
    x, y = {name: images}, {name: labels}

    def infer(model: keras.Model) -> Callable[[], Any]:
        return lambda: model.predict_on_batch(x)[name]

    def infer_fused() -> Callable[[], Any]:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "fused.keras")
            # As it is deployed: the process that fused it had the adapted network in memory.
            maker = multiprocessing.get_context("spawn").Process(
                target=write_fused, args=(settings, path)
            )
            maker.start()
            maker.join()
            model = keras.saving.load_model(path)
        return lambda: model.predict_on_batch(images)

    def train(frozen: bool) -> Callable[[], float]:
        model = our_network(settings)
        if frozen:
            for unit in our_units(model):
                unit.convolution.layer.trainable = False
        optimizer = keras.optimizers.SGD(settings["learning_rate"], momentum=0.9)
        # No accuracy, which the peer does not compute either.
        model.compile(optimizer, metrics=[])

        def step() -> float:
            model.reset_metrics()
            return float(model.train_on_batch(x, y, return_dict=True)["loss"])

        return step

    return {
        "inference": lambda: infer(our_network(settings)),
        "inference plain": lambda: infer(our_network(settings, adapted=False)),
        "inference fused": infer_fused,
        "inference many domains": lambda: infer(our_network(settings, settings["domains"])),
        "adapters-only training": lambda: train(frozen=True),
        "full training": lambda: train(frozen=False),
    }


def our_bytes(settings: dict[str, Any]) -> dict[str, int]:
    """Size of the weights file of one domain, and by how much a second domain lets it grow."""
    one, two = (_file_size(our_network(settings, n).save_weights, ".weights.h5") for n in (1, 2))
    return {"network": one, "domain": two - one}


def _file_size(save: Callable[[str], Any], suffix: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"network{suffix}"
        save(os.fspath(path))
        return path.stat().st_size


# ---- the same in plain PyTorch ------------------------------------------------------------------


def peer_network(settings: dict[str, Any], domains: int = 1, adapted: bool = True) -> Any:
    """The network as its authors compute it: two convolutions, a sum, and the normalisation."""
    import torch
    from torch import nn
    from torch.nn import functional

    def convolution(kernel: np.ndarray, stride: int) -> nn.Conv2d:
        size, _, before, filters = kernel.shape
        layer = nn.Conv2d(before, filters, size, stride, size // 2, bias=False)
        layer.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        return layer

    def normalization(values: list[np.ndarray]) -> nn.ModuleList:
        """One for each domain."""
        layers = nn.ModuleList(nn.BatchNorm2d(len(values[0])) for _ in range(domains))
        for layer in layers:
            tensors = [torch.from_numpy(value.copy()) for value in values]
            layer.weight.data, layer.bias.data = tensors[:2]
            layer.running_mean, layer.running_var = tensors[2:]
        return layers

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            arrays = network_arrays(settings)
            self.convolutions, self.adapters = nn.ModuleList(), nn.ModuleList()
            self.normalizations = nn.ModuleList()
            for number, unit in enumerate(arrays["units"]):
                stride = 2 if number % 8 == 1 else 1
                self.convolutions.append(convolution(unit["kernel"], stride))
                if adapted:
                    copies = [convolution(unit["adapter"], stride) for _ in range(domains)]
                    self.adapters.append(nn.ModuleList(copies))
                self.normalizations.append(normalization(unit["normalization"]))
            self.end = normalization(arrays["end"])
            self.heads = nn.ModuleList(nn.Linear(*arrays["head"].shape) for _ in range(domains))
            for head in self.heads:
                head.weight.data = torch.from_numpy(arrays["head"].T.copy())
                head.bias.data.zero_()

        def unit(self, value: torch.Tensor, i: int, domain: int) -> torch.Tensor:
            outputs = self.convolutions[i](value)
            if adapted:
                outputs = outputs + self.adapters[i][domain](value)
            return self.normalizations[i][domain](outputs)

        def forward(self, images: torch.Tensor, domain: int = 0) -> torch.Tensor:
            value = self.unit(images, 0, domain)
            for i in range(1, len(self.convolutions), 2):
                inner = functional.relu(self.unit(value, i, domain), inplace=True)
                inner = self.unit(inner, i + 1, domain)
                if self.convolutions[i].stride[0] == 2:
                    value = functional.avg_pool2d(value, 2)
                    value = torch.cat([value, torch.zeros_like(value)], 1)
                value = functional.relu(value + inner)
            features = functional.relu(self.end[domain](value)).mean((2, 3))
            return self.heads[domain](features)

    return Network()


def peer_cases(
    settings: dict[str, Any], channels_last: bool
) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import torch
    from torch.nn import functional

    if any("train" in case for case in settings["cases"]):
        # Optimizers import it, in the midst of what is measured.
        import torch._dynamo  # noqa: F401

    layout = torch.channels_last if channels_last else torch.contiguous_format
    images, labels = make_data(settings)
    pixels = images.transpose(0, 3, 1, 2)
    if not channels_last:
        # In the order that suits the network from the start: no step has to turn the images.
        pixels = np.ascontiguousarray(pixels)

    def infer(network: Any) -> Callable[[], Any]:
        network.eval().to(memory_format=layout)

        def step() -> np.ndarray:
            with torch.no_grad():
                return network(torch.from_numpy(pixels)).numpy()

        return step

    def train(frozen: bool) -> Callable[[], float]:
        network = peer_network(settings).train().to(memory_format=layout)
        if frozen:
            network.convolutions.requires_grad_(False)
        parameters = [value for value in network.parameters() if value.requires_grad]
        optimizer = torch.optim.SGD(parameters, settings["learning_rate"], momentum=0.9)

        def step() -> float:
            optimizer.zero_grad()
            logits = network(torch.from_numpy(pixels))
            loss = functional.cross_entropy(logits, torch.from_numpy(labels))
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        return step

    return {
        "inference": lambda: infer(peer_network(settings)),
        "inference plain": lambda: infer(peer_network(settings, adapted=False)),
        "inference many domains": lambda: infer(peer_network(settings, settings["domains"])),
        "adapters-only training": lambda: train(frozen=True),
        "full training": lambda: train(frozen=False),
    }


def peer_bytes(settings: dict[str, Any]) -> dict[str, int]:
    """Size of the file that the peer writes for each domain: the whole network."""
    import torch

    network = peer_network(settings)
    return {"network": _file_size(lambda path: torch.save(network.state_dict(), path), ".pt")}
