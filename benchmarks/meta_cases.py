"""The same meta-learning twice: with this library, and straight in PyTorch.

Every case is a function without arguments that builds the network, from the same NumPy weights, and
returns a training step that returns its loss, or an adaptation that returns logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

WAY, CHANNELS, BLOCKS = 5, 3, 4
THEIRS = ("train maml", "train first-order maml", "train anil", "infer maml", "infer anil")
OURS_ONLY = ("train modulator", "infer modulator")
# A modulator that is not trained changes nothing, and never what the backbone learns from.
SAME = {"train modulator": "train anil", "infer modulator": "infer anil"}

# Ten steps through all layers let rounding grow: in float32 both peers are 2e-4 to 4e-4 away from
# the same computation in float64.
LIMITS = {"infer maml": 1e-3}


# ---- what all workers share: weights and tasks --------------------------------------------------


def make_weights(settings: dict[str, Any]) -> list[np.ndarray]:
    """Kernels of the four convolutions (height, width, in, out), and of the head (features, 5)."""
    rng = np.random.default_rng(settings["seed"])
    filters, found, before = settings["filters"], [], CHANNELS
    for _ in range(BLOCKS):
        found.append(rng.normal(size=(3, 3, before, filters)) * np.sqrt(2.0 / (9 * filters)))
        before = filters
    features = filters * (settings["size"] >> BLOCKS) ** 2
    found.append(rng.normal(size=(features, WAY)) / np.sqrt(features))
    return [array.astype("float32") for array in found]


def make_tasks(settings: dict[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Images (tasks, samples, size, size, 3) about one of each class, and labels."""
    rng = np.random.default_rng(settings["seed"])
    tasks, size = settings["tasks"], settings["size"]
    centres = rng.uniform(size=(tasks, WAY, size, size, CHANNELS))
    found = {}
    for part, count in (("support", settings["shots"]), ("query", settings["queries"])):
        x = np.repeat(centres, count, axis=1)
        x = x + 0.3 * rng.normal(size=x.shape)
        y = np.tile(np.repeat(np.arange(WAY), count), (tasks, 1))
        found[part] = (x.astype("float32"), y.astype("int32"))
    return found


# ---- this library -------------------------------------------------------------------------------


def our_cases(settings: dict[str, Any]) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import keras

    from keras_univrep.backbones import Conv4
    from keras_univrep.layers import AttentionModulator
    from keras_univrep.models import ANIL, MAML, MultiTaskMetaLearner

    tasks = make_tasks(settings)
    steps = {"steps": settings["steps"], "test_steps": settings["test_steps"]}
    rates = {"learning_rate": settings["inner_rate"]}

    def parts(pooling: str | None = "flatten") -> tuple[keras.Model, keras.Model]:
        *kernels, matrix = make_weights(settings)
        body = Conv4(settings["filters"], settings["size"], CHANNELS, pooling=pooling)
        for layer, kernel in zip(body.convolutions, kernels, strict=True):
            layer.kernel.assign(kernel)
        side = settings["size"] >> BLOCKS
        shape = (side, side, settings["filters"]) if pooling is None else (len(matrix),)
        dense = keras.layers.Dense(WAY)
        head = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), dense])
        dense.kernel.assign(matrix)
        return body, head

    def learner(name: str) -> keras.Model:
        if "modulator" in name:
            body, head = parts(pooling=None)
            modulator = AttentionModulator(
                MultiTaskMetaLearner.modulated_channels(body),
                units=settings["units"],
                label_size=WAY,
            )
            model = MultiTaskMetaLearner(
                body, {"classes": head}, {"classes": modulator}, **steps, **rates
            )
        elif "anil" in name:
            model = ANIL(*parts(), **steps, **rates)
        else:
            body, head = parts()
            shape = (settings["size"], settings["size"], CHANNELS)
            network = keras.Sequential([keras.Input(shape), body, head])
            model = MAML(network, first_order="first-order" in name, **steps, **rates)
        model.compile(
            keras.optimizers.SGD(settings["learning_rate"]),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        return model

    def train(name: str) -> Callable[[], float]:
        model, batch = learner(name), _named(name, tasks)

        def step() -> float:
            model.reset_metrics()
            return float(model.train_on_batch(batch, return_dict=True)["loss"])

        return step

    def infer(name: str) -> Callable[[], np.ndarray]:
        model = learner(name)
        batch = _named(name, {"support": tasks["support"], "query": tasks["query"][0]})

        def step() -> np.ndarray:
            outputs = model.predict_on_batch(batch)
            return np.asarray(outputs["classes"] if "modulator" in name else outputs)

        return step

    return {
        name: lambda name=name: (train if "train" in name else infer)(name)
        for name in (*THEIRS, *OURS_ONLY)
    }


def _named(name: str, batch: Any) -> Any:
    return {"classes": batch} if "modulator" in name else batch


# ---- the same in plain PyTorch, in the way of learn2learn ---------------------------------------


def peer_cases(
    settings: dict[str, Any], channels_last: bool
) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Each case as a function that builds it and returns its step."""
    import torch
    import torch._dynamo  # Optimizers import it, in the midst of what is measured.
    from torch.nn import functional

    layout = torch.channels_last if channels_last else torch.contiguous_format
    side = settings["size"] >> BLOCKS

    def to_images(value: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(value.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)

    tasks = [
        {
            part: (to_images(x[task]), torch.from_numpy(y[task]).long())
            for part, (x, y) in make_tasks(settings).items()
        }
        for task in range(settings["tasks"])
    ]

    def parameters() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        *kernels, matrix = make_weights(settings)
        body = []
        for kernel in kernels:
            weight = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
            count = kernel.shape[-1]
            body += [weight.contiguous(memory_format=layout), torch.zeros(count)]
            body += [torch.ones(count), torch.zeros(count)]
        # The features are channels first here.
        matrix = matrix.reshape(side, side, -1, WAY).transpose(3, 2, 0, 1).reshape(WAY, -1)
        head = [torch.from_numpy(matrix.copy()), torch.zeros(WAY)]
        for value in body + head:
            value.requires_grad_()
        return body, head

    def features(body: Sequence[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        for block in range(BLOCKS):
            weight, bias, gamma, beta = body[4 * block : 4 * block + 4]
            x = functional.conv2d(x, weight, bias, padding=1)
            x = functional.batch_norm(x, None, None, gamma, beta, training=True)
            x = functional.max_pool2d(functional.relu(x), 2)
        return x.flatten(1)

    def adapted(
        values: list[torch.Tensor], logits: Callable, labels: torch.Tensor, steps: int, order: int
    ) -> list[torch.Tensor]:
        for _ in range(steps):
            loss = functional.cross_entropy(logits(values), labels)
            grads = torch.autograd.grad(loss, values, create_graph=order == 2)
            values = [v - settings["inner_rate"] * g for v, g in zip(values, grads)]
        return values

    def answer(
        name: str, body: list, head: list, task: dict, steps: int, order: int
    ) -> torch.Tensor:
        (x, y), (queries, _) = task["support"], task["query"]
        if "anil" in name:
            seen, asked = features(body, x), features(body, queries)
            head = adapted(head, lambda v: functional.linear(seen, *v), y, steps, order)
            return functional.linear(asked, *head)

        def logits(values: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
            return functional.linear(features(values[:-2], x), *values[-2:])

        values = adapted(body + head, lambda v: logits(v, x), y, steps, order)
        return logits(values, queries)

    def train(name: str) -> Callable[[], float]:
        body, head = parameters()
        optimizer = torch.optim.SGD(body + head, settings["learning_rate"])
        order = 1 if "first-order" in name else 2

        def step() -> float:
            optimizer.zero_grad()
            total = 0.0
            for task in tasks:
                logits = answer(name, body, head, task, settings["steps"], order)
                loss = functional.cross_entropy(logits, task["query"][1]) / len(tasks)
                loss.backward()
                total += float(loss.detach())
            optimizer.step()
            return total

        return step

    def infer(name: str) -> Callable[[], np.ndarray]:
        body, head = parameters()

        def step() -> np.ndarray:
            found = []
            for task in tasks:
                # Features of an unchanged body need no graph, the adaptation does.
                logits = answer(name, body, head, task, settings["test_steps"], 1)
                found.append(logits.detach().numpy())
            return np.stack(found)

        return step

    return {name: lambda name=name: (train if "train" in name else infer)(name) for name in THEIRS}
