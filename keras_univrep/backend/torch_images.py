"""Convolution and pooling on PyTorch, on the channels-last memory as it lies."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as functional_nn
from torch.utils.weak import WeakIdKeyDictionary

from keras_univrep.backend.base import Padding, under_centre
from keras_univrep.types import Tensor


def convolution(
    inputs: Tensor, kernel: Tensor, strides: Sequence[int], padding: Padding,
    dilation: Sequence[int], bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """On the channels-last memory as it lies; Keras's own copies it to channels first and back."""
    dtype = torch.promote_types(inputs.dtype, kernel.dtype)
    inputs, kernel = inputs.to(dtype), kernel.to(dtype)
    inputs, pads = _pads(inputs, kernel.shape, strides, padding, dilation)
    follows = torch.is_grad_enabled() and kernel.requires_grad
    filters = _FiltersFirst.apply(kernel) if follows else _kept_filters(kernel)
    bias = None if bias is None else bias.to(dtype)
    return _convolve(inputs, filters, strides, pads, dilation, bias)


def adapted_convolution(
    inputs: Tensor, kernel: Tensor, adapter: Tensor,
    strides: Sequence[int], padding: Padding, dilation: Sequence[int], kernel_trains: bool,
) -> Tensor:  # fmt: skip
    """One convolution whose backward pass computes what is asked for, whatever was announced."""
    # "same" is symmetric here, as the interface keeps other cases away: nothing is padded.
    _, pads = _pads(inputs, kernel.shape, strides, padding, dilation)
    fused = _with_centre(kernel, adapter)
    arguments = (inputs, fused, kernel, adapter, strides, pads, dilation)
    if torch.is_grad_enabled():
        return _AdaptedConvolution.apply(*arguments)
    return _AdaptedConvolution.forward(*arguments)


def _with_centre(kernel: Tensor, adapter: Tensor) -> Tensor:
    """The filters with the adapter in their centre, and for autograd what they depend on."""
    row, column = (size // 2 for size in kernel.shape[:2])
    follows = torch.is_grad_enabled() and kernel.requires_grad
    filters = _filters_first(kernel) if follows else _kept_filters(kernel)
    centre = adapter[0, 0].t()
    if any(map(torch._C._functorch.is_functorch_wrapped_tensor, (kernel, adapter))):
        # There the adapters may be several and the filters one, which cannot hold them.
        ends = [column, filters.shape[3] - 1 - column, row, filters.shape[2] - 1 - row]
        return filters + functional_nn.pad(centre[:, :, None, None], ends)
    # Only the centre moves, so the rest of a frozen kernel keeps the layout that it has.
    fused = filters.clone()
    fused[:, :, row, column] += centre
    return fused


class _AdaptedConvolution(torch.autograd.Function):
    """The convolution by `fused`, with its gradient given to what the filters were made of.

    The first derivative skips the filters, which saves the gradient of a frozen kernel; what the
    second derivative asks of them reaches kernel and adapter on autograd's own way.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(  # type: ignore[override]
        inputs: Tensor, fused: Tensor, kernel: Tensor, adapter: Tensor,
        strides: Sequence[int], pads: Sequence[int], dilation: Sequence[int],
    ) -> Tensor:  # fmt: skip
        return _convolve(inputs, fused, strides, pads, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:  # type: ignore[override]
        images, fused, kernel, adapter, ctx.strides, ctx.pads, ctx.dilation = inputs
        ctx.sizes = kernel.shape[:2]
        ctx.adapter_shape = adapter.shape
        ctx.save_for_backward(images, fused)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        inputs, fused = ctx.saved_tensors
        of_inputs, _, of_kernel, of_adapter = ctx.needs_input_grad[:4]
        by_inputs, by_kernel, _ = torch.ops.aten.convolution_backward(
            cotangent.movedim(-1, 1), inputs.movedim(-1, 1), fused, None,
            ctx.strides, ctx.pads, ctx.dilation, False, [0, 0], 1, [of_inputs, of_kernel, False],
        )  # fmt: skip
        by_adapter = None
        if of_adapter and of_kernel:
            row, column = (size // 2 for size in ctx.sizes)
            by_adapter = by_kernel[:, :, row, column].t().reshape(ctx.adapter_shape)
        elif of_adapter:
            pixels = under_centre(inputs, cotangent, ctx.sizes, ctx.strides, ctx.pads, ctx.dilation)
            by_adapter = torch.matmul(
                pixels.reshape(-1, fused.shape[1]).T, cotangent.reshape(-1, fused.shape[0])
            ).reshape(ctx.adapter_shape)
        return (
            by_inputs.movedim(1, -1) if of_inputs else None,
            None,
            _filters_last(by_kernel) if of_kernel else None,
            by_adapter,
            None,
            None,
            None,
        )


def average_pool(inputs: Tensor, size: int) -> Tensor:
    """On the channels-last memory as it lies; Keras's own copies it, and so does the gradient."""
    return functional_nn.avg_pool2d(inputs.movedim(-1, 1), size).movedim(1, -1)


def max_pool(inputs: Tensor, size: int) -> Tensor:
    """On the channels-last memory as it lies; without gradients by comparing halves.

    PyTorch's own operation keeps an index beside each maximum, which takes four times as long.
    """
    _, height, width, _ = inputs.shape
    follows = torch.is_grad_enabled() and inputs.requires_grad
    if follows or size != 2 or height % 2 or width % 2:
        return functional_nn.max_pool2d(inputs.movedim(-1, 1), size).movedim(1, -1)
    rows = inputs.unflatten(1, (-1, 2))
    columns = torch.maximum(rows[:, :, 0], rows[:, :, 1]).unflatten(2, (-1, 2))
    return torch.maximum(columns[:, :, :, 0], columns[:, :, :, 1])


def max_pool_with_indices(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """On the channels-last memory as it lies."""
    pair = functional_nn.max_pool2d(inputs.movedim(-1, 1), 2, return_indices=True)
    return pair[0].movedim(1, -1), pair[1].movedim(1, -1)


def max_unpool(inputs: Tensor, indices: Tensor) -> Tensor:
    """By a scatter: the backward pass of PyTorch's own operation copies to channels first."""
    zeros = inputs.new_zeros((len(inputs), 4 * inputs[0, ..., 0].numel(), inputs.shape[-1]))
    pixels = zeros.scatter_(1, indices.flatten(1, 2), inputs.flatten(1, 2))
    return pixels.unflatten(1, (2 * inputs.shape[1], 2 * inputs.shape[2]))


def _filters_first(kernel: Tensor) -> Tensor:
    """From (*sizes, channels, filters) to (filters, channels, *sizes), channels last in memory.

    One transposition of a matrix: torch has a fast form for that, and not for permuting four axes.
    """
    filters = kernel.reshape(-1, kernel.shape[-1]).t().contiguous()
    return filters.view(-1, *kernel.shape[:-1]).movedim(-1, 1)


def _filters_last(filters: Tensor) -> Tensor:
    """The inverse of `_filters_first`, in one piece of memory: optimizers are slow on another."""
    matrix = filters.movedim(1, -1).reshape(len(filters), -1).t().contiguous()
    return matrix.view(*filters.shape[2:], filters.shape[1], -1)


class _FiltersFirst(torch.autograd.Function):
    """`_filters_first`, with a gradient that lies in memory as the kernel does."""

    generate_vmap_rule = True

    @staticmethod
    def forward(kernel: Tensor) -> Tensor:  # type: ignore[override]
        return _filters_first(kernel)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:  # type: ignore[override]
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> Tensor:  # type: ignore[override]
        return _filters_last(cotangent)


# Filters of kernels that nothing differentiates, with the version and the place of their values.
_KEPT = WeakIdKeyDictionary()


def _kept_filters(kernel: Tensor) -> Tensor:
    """`_filters_first`, computed once as long as the kernel does not change.

    Who writes into `kernel.data` hides the change from this as from autograd.
    """
    if torch._C._functorch.is_functorch_wrapped_tensor(kernel) or kernel.is_inference():
        return _filters_first(kernel)
    state = kernel._version, kernel.data_ptr()
    known, filters = _KEPT.get(kernel, (None, None))
    if known != state:
        with torch.no_grad():
            filters = _filters_first(kernel)
        _KEPT[kernel] = state, filters
    return filters


def _convolve(
    inputs: Tensor, filters: Tensor, strides: Sequence[int], pads: Sequence[int],
    dilation: Sequence[int], bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    operation = (functional_nn.conv1d, functional_nn.conv2d, functional_nn.conv3d)[inputs.ndim - 3]
    groups = inputs.shape[-1] // filters.shape[1]
    outputs = operation(inputs.movedim(-1, 1), filters, bias, strides, pads, dilation, groups)
    return outputs.movedim(1, -1)


def _pads(
    inputs: Tensor, sizes: Sequence[int], strides: Sequence[int], padding: Padding,
    dilation: Sequence[int],
) -> tuple[Tensor, list[int]]:  # fmt: skip
    """Zeros at each end of each axis.

    Where both ends need as many, the convolution adds them itself; else the inputs come padded.
    """
    rank = len(sizes) - 2
    if not isinstance(padding, str):
        return inputs, list(padding)
    if padding == "valid":
        return inputs, [0] * rank
    totals = [
        max((-(-length // stride) - 1) * stride + d * (taps - 1) + 1 - length, 0)
        for length, taps, stride, d in zip(inputs.shape[1:-1], sizes, strides, dilation)
    ]
    if all(total % 2 == 0 for total in totals):
        return inputs, [total // 2 for total in totals]
    ends = [end for total in reversed(totals) for end in (total // 2, total - total // 2)]
    return functional_nn.pad(inputs, [0, 0, *ends]), [0] * rank
