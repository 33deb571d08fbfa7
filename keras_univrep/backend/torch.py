"""Gradients, train step and order statistics on PyTorch; the contracts are in `interface`."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import torch
from keras import tree

from keras_univrep.backend.base import (
    Pullback,
    Scope,
    TrainStepBase,
    carry_out,
    optimizer_order,
    read,
    zeros_for_none,
)
from keras_univrep.types import Tensor


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
            if output.requires_grad
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
) -> None:
    """By `apply`, outside the graph."""
    with torch.no_grad():
        optimizer.apply(*optimizer_order(optimizer, grads, variables))


def lower_median(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """By `nanmedian`."""
    x = keras.ops.convert_to_tensor(x).detach().to(torch.float32)
    if mask is not None:
        mask = keras.ops.convert_to_tensor(mask).to(device=x.device, dtype=torch.bool)
        # NaN marks what `nanmedian` leaves out; a boolean index would wait for the accelerator.
        x = torch.where(mask, x, torch.nan)
    return torch.nan_to_num(torch.nanmedian(x), nan=0.0, posinf=torch.inf)


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


def _detach(leaf: Any) -> Any:
    return leaf.detach() if torch.is_tensor(leaf) else leaf
