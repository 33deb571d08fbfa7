"""Gradients, train step and order statistics on PyTorch; the contracts are in `interface`."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import torch
from keras import tree
from torch.nn import functional as functional_nn

from keras_univrep.backend.base import (
    Pullback,
    Scope,
    TrainStepBase,
    carry_out,
    in_a_replica,
    in_every_replica,
    normalize_by_operations,
    optimizer_order,
    read,
    repeat,
    replicas,
    zeros_for_none,
)
from keras_univrep.backend.torch_images import (
    adapted_convolution,
    average_pool,
    convolution,
    max_pool,
    max_pool_with_indices,
    max_unpool,
)
from keras_univrep.types import Tensor

__all__ = [
    "TrainStep",
    "adadelta",
    "adapted_convolution",
    "apply_gradients",
    "average_pool",
    "batch_normalization",
    "convolution",
    "in_a_replica",
    "in_every_replica",
    "lower_median",
    "max_pool",
    "max_pool_with_indices",
    "max_unpool",
    "normalize",
    "on_processor",
    "repeat",
    "replicas",
    "value_and_grad",
    "vjp",
    "with_gradients",
]


def vjp(
    fn: Callable[..., tuple[Any, Any]],
    variables: Sequence[keras.Variable],
    inputs: Sequence[Tensor] = (),
) -> tuple[Any, Any, Pullback]:
    """Forward with autograd on, and a graph kept for every pullback."""
    variables = list(variables)
    count = len(variables)
    inputs = [keras.ops.convert_to_tensor(x).detach().requires_grad_(True) for x in inputs]
    references = read(variables)
    # A frozen variable takes no gradient in torch, so that a copy which does stands in for it.
    stand_ins = []
    for index, (variable, value) in enumerate(zip(variables, references, strict=True)):
        if not value.requires_grad:
            references[index] = value.detach().requires_grad_(True)
            stand_ins.append((variable, references[index]))
    references += inputs
    # `evaluate` runs its steps under no_grad.
    with torch.enable_grad():
        if stand_ins:
            with Scope(stand_ins) as scope:
                outputs, aux = fn(*inputs)
            carry_out(scope.updates.values())
        else:
            outputs, aux = fn(*inputs)
    flat = list(tree.flatten(outputs))

    def pullback(cotangents: Any) -> tuple[list[Tensor], list[Tensor]]:
        tree.assert_same_structure(outputs, cotangents)
        pairs = [
            (output, torch.as_tensor(cotangent, dtype=output.dtype, device=output.device))
            for output, cotangent in zip(flat, tree.flatten(cotangents), strict=True)
            if cotangent is not None and output.requires_grad
        ]
        grads: Sequence[Tensor | None] = [None] * len(references)
        if pairs:
            grads = torch.autograd.grad(
                [output for output, _ in pairs],
                references,
                [cotangent for _, cotangent in pairs],
                retain_graph=True,
                allow_unused=True,
            )
        dense = zeros_for_none(grads, references)
        return dense[:count], dense[count:]

    return tree.map_structure(_detach, outputs), tree.map_structure(_detach, aux), pullback


def value_and_grad(
    fn: Callable[[list[Tensor]], tuple[Tensor, Any]],
    values: Sequence[Tensor],
    create_graph: bool = True,
) -> tuple[tuple[Tensor, Any], list[Tensor]]:
    """By `torch.func`, which an enclosing autograd records."""
    values = [keras.ops.convert_to_tensor(value) for value in values]
    kept: dict[str, Any] = {}

    def pure(values: list[Tensor]) -> tuple[Tensor, tuple[list[Tensor], list[Tensor]]]:
        with Scope() as scope:
            value, kept["aux"] = fn(values)
        updates = list(scope.updates.values())
        kept["updated"] = [variable for variable, _ in updates]
        # torch.func takes tensors alone as auxiliary results; the rest waits outside.
        tensors = [leaf for leaf in tree.flatten(kept["aux"]) if torch.is_tensor(leaf)]
        return value, (tensors, [new for _, new in updates])

    grads, (value, (tensors, new)) = torch.func.grad_and_value(pure, has_aux=True)(values)
    remaining = iter(tensors)
    aux = tree.map_structure(
        lambda leaf: next(remaining) if torch.is_tensor(leaf) else leaf, kept["aux"]
    )
    carry_out(zip(kept["updated"], new, strict=True))
    if not create_graph:
        grads = [grad.detach() for grad in grads]
    return (value, aux), list(grads)


def apply_gradients(
    optimizer: keras.optimizers.Optimizer,
    grads: Sequence[Tensor | None],
    variables: Sequence[keras.Variable],
    condition: Tensor | None = None,
) -> None:
    """By `apply`, outside the graph."""
    if condition is not None and not bool(condition):
        return
    with torch.no_grad():
        optimizer.apply(*optimizer_order(optimizer, grads, variables))


def lower_median(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """By NumPy's partition on the CPU, ten times as fast as `nanmedian`, which serves elsewhere."""
    x = keras.ops.convert_to_tensor(x).detach().to(torch.float32)
    if mask is not None:
        mask = keras.ops.convert_to_tensor(mask).to(device=x.device, dtype=torch.bool)
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    if x.device.type == "cpu" and not (wrapped(x) or (mask is not None and wrapped(mask))):
        # Non-negative floats sort like their bits.
        bits = x.contiguous().view(torch.int32)
        count = x.numel()
        if mask is not None:
            bits = torch.where(mask, bits, torch.iinfo(torch.int32).max)
            count = int(torch.count_nonzero(mask.expand_as(x)))
        if count == 0:
            return x.new_zeros(())
        rank = (count - 1) // 2
        return x.new_tensor(np.partition(bits.numpy().ravel(), rank)[rank].view(np.float32))
    if mask is not None:
        # NaN marks what `nanmedian` leaves out; a boolean index would wait for the accelerator.
        x = torch.where(mask, x, torch.nan)
    return torch.nan_to_num(torch.nanmedian(x), nan=0.0, posinf=torch.inf)


@torch.no_grad()
def adadelta(
    gradient: Callable[[Tensor], Tensor], start: Tensor, rates: Tensor,
    steps: int, decay: float, epsilon: float,
) -> Tensor:  # fmt: skip
    """In place, on a CPU as many entries at a time as its cache holds."""
    values = start.clone()
    # The averages hold epsilon, which saves two sums: they decay towards it and not towards zero.
    squares, moves = torch.full_like(values, epsilon), torch.full_like(values, epsilon)
    limit = torch.tensor(epsilon, device=values.device)
    pieces = _pieces(values)
    views = [(values[p], squares[p], moves[p], rates[p[:1]]) for p in pieces]
    ratios = [torch.empty_like(view[0]) for view in views[:1] + views[-1:]]
    for _ in range(steps):
        gradients = gradient(values)
        for piece, (value, square, move, rate) in zip(pieces, views):
            slope = gradients[piece]
            square.lerp_(limit, 1.0 - decay).addcmul_(slope, slope, value=1.0 - decay)
            ratio = ratios[slope.shape != ratios[0].shape]
            torch.div(move, square, out=ratio)
            ratio.sqrt_().mul_(slope)
            move.lerp_(limit, 1.0 - decay).addcmul_(ratio, ratio, value=1.0 - decay)
            value.addcmul_(ratio, rate, value=-1.0)
    return values


def _pieces(x: Tensor, entries: int = 2**16) -> list[tuple[slice, ...]]:
    """Slices of the first axes, all but the last of one size, of so many entries on a CPU."""
    if x.device.type != "cpu" or x.numel() <= entries:
        return [(slice(None),)]
    of_one = x.numel() // len(x)
    if of_one <= entries or x.ndim == 1:
        size = max(1, entries // of_one)
        return [(slice(first, first + size),) for first in range(0, len(x), size)]
    rows = max(1, entries * x.shape[1] // of_one)
    return [
        (slice(number, number + 1), slice(first, first + rows))
        for number in range(len(x))
        for first in range(0, x.shape[1], rows)
    ]


def with_gradients(
    fn: Callable[..., tuple[Tensor, Sequence[Callable[[], Tensor]]]], inputs: Sequence[Tensor]
) -> Tensor:
    """By an autograd function; `torch.func` differentiates the value itself."""
    follows = torch.is_grad_enabled() and any(x.requires_grad for x in inputs)
    if not follows or any(torch._C._functorch.is_functorch_wrapped_tensor(x) for x in inputs):
        return fn(*inputs)[0]
    return _WithGradients.apply(fn, *inputs)


class _WithGradients(torch.autograd.Function):
    """`with_gradients`, as autograd takes it."""

    @staticmethod
    def forward(ctx: Any, fn: Callable, *inputs: Tensor) -> Tensor:  # type: ignore[override]
        value, ctx.pulls = fn(*inputs)
        ctx.fn = fn
        ctx.save_for_backward(*inputs)
        # A copy: if a pull holds the value, the context would otherwise hold itself for ever.
        return value.clone()

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, cotangent: Tensor
    ) -> tuple[Tensor | None, ...]:
        pulls = ctx.pulls
        if torch.is_grad_enabled():  # To be differentiated again, so it is computed anew.
            pulls = ctx.fn(*ctx.saved_tensors)[1]
        needed = ctx.needs_input_grad[1:]
        grads = [cotangent * pull() if need else None for pull, need in zip(pulls, needed)]
        return None, *grads


def batch_normalization(
    inputs: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """By PyTorch's own operation, which gives the moments along with the outputs."""
    if any(_vectorized(x) for x in (inputs, gamma, beta)):
        # PyTorch's second derivatives of its operation are wrong under `torch.vmap`.
        return normalize_by_operations(inputs, gamma, beta, epsilon)
    outputs, mean, scale = torch.native_batch_norm(
        inputs.movedim(-1, 1), gamma, beta, None, None, True, 0.0, epsilon
    )
    return outputs.movedim(1, -1), mean, (scale**-2 - epsilon).clamp_min(0.0)


def on_processor() -> bool:
    """By the device that Keras puts tensors on."""
    return keras.ops.convert_to_tensor(0.0).device.type == "cpu"


def normalize(
    inputs: Tensor, gamma: Tensor, beta: Tensor, epsilon: float, mean: Tensor, variance: Tensor
) -> Tensor:
    """By PyTorch's own operation."""
    outputs = functional_nn.batch_norm(
        inputs.movedim(-1, 1), mean, variance, gamma, beta, False, 0.0, epsilon
    )
    return outputs.movedim(1, -1)


class TrainStep(TrainStepBase):
    """Steps without explicit state."""

    def train_step(self, data: Any) -> dict[str, Tensor]:
        """Run `update` (called by Keras)."""
        return self.update(data)

    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Run `evaluate_update`, or Keras's own step (called by Keras)."""
        if hasattr(self, "evaluate_update"):
            return self.evaluate_update(data)
        return super().test_step(data)  # type: ignore[misc]


def _vectorized(x: Tensor) -> bool:
    """Whether a `torch.vmap` gave the tensor an axis that it hides."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(x):
        if functorch.is_batchedtensor(x):
            return True
        x = functorch.get_unwrapped(x)
    return False


def _detach(leaf: Any) -> Any:
    return leaf.detach() if torch.is_tensor(leaf) else leaf
