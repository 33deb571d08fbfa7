"""The backends' convolution is the plain one plus a branch at the centre, in every gradient."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_univrep import backend
from tests import oracles

CASES = [
    {"size": size, "stride": stride, "dilation": dilation, "groups": groups, "padding": padding}
    for size, stride, dilation, groups, padding in itertools.product(
        (1, 3, 5), (1, 2), (1, 2), (1, 2), ("valid", "same", 1)
    )
    # Keras refuses strides with dilation.
    if stride == 1 or dilation == 1
    # Groups that count their zeros are padded beforehand; one stride of them is enough.
    if (groups, padding) != (2, 1) or (stride, size) == (2, 3)
]


def arrays(size: int, groups: int = 1, rank: int = 2) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(size)
    x = rng.normal(size=(2, *(12, 11, 10)[:rank], 4))
    kernel = rng.normal(size=(*(size,) * rank, 4 // groups, 6))
    return x, kernel, rng.normal(size=(*(1,) * rank, 4 // groups, 6))


def expected(x, kernel, alpha, size, **arguments) -> np.ndarray:
    plain = oracles.convolution(x, kernel, **arguments)
    flat = alpha.reshape(alpha.shape[-2:])
    return plain + oracles.centre_branch(x, flat, (size,) * (x.ndim - 2), **arguments)


def run(x, kernel, alpha, case, trains):
    return backend.convolution(
        x, kernel, alpha, (case["stride"],), case["padding"], (case["dilation"],), trains
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_adapter_is_a_branch_at_the_centre_tap(case):
    x, kernel, alpha = arrays(case["size"], case["groups"])
    arguments = {key: value for key, value in case.items() if key != "size"}
    right = expected(x, kernel, alpha, case["size"], **arguments)
    for trains in (True, False):
        values = [array.astype("float32") for array in (x, kernel, alpha)]
        outputs = ops.convert_to_numpy(run(*values, case, trains))
        np.testing.assert_allclose(outputs, right, rtol=1e-5, atol=1e-5 * np.abs(right).max())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gradients_do_not_depend_on_what_was_announced(case):
    x, kernel, alpha = arrays(case["size"], case["groups"])
    arguments = {key: value for key, value in case.items() if key != "size"}
    shape = expected(x, kernel, alpha, case["size"], **arguments).shape
    cotangent = ops.convert_to_tensor(np.random.default_rng(1).normal(size=shape).astype("float32"))
    values = [ops.convert_to_tensor(array.astype("float32")) for array in (x, kernel, alpha)]
    found = []
    for trains in (True, False):
        _, grads = backend.value_and_grad(
            lambda v, trains=trains: (ops.sum(run(*v, case, trains) * cotangent), None), values
        )
        found.append([ops.convert_to_numpy(grad) for grad in grads])
    for announced, lean in zip(*found, strict=True):
        scale = np.abs(announced).max()
        np.testing.assert_allclose(lean, announced, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("stride", [1, 2])
def test_gradient_of_alpha_is_the_central_difference(stride):
    x, kernel, alpha = arrays(3)
    case = {"stride": stride, "dilation": 1, "padding": "valid"}
    cotangent = np.random.default_rng(2).normal(
        size=expected(x, kernel, alpha, 3, stride=stride).shape
    )

    def loss(alpha: np.ndarray) -> float:
        return float(np.sum(cotangent * expected(x, kernel, alpha, 3, stride=stride)))

    fixed = [ops.convert_to_tensor(array.astype("float32")) for array in (x, kernel)]
    weights = ops.convert_to_tensor(cotangent.astype("float32"))
    _, (grad,) = backend.value_and_grad(
        lambda v: (ops.sum(run(*fixed, v[0], case, False) * weights), None),
        [alpha.astype("float32")],
    )
    grad = ops.convert_to_numpy(grad)
    for index in [(0, 0, 0, 0), (0, 0, 3, 5), (0, 0, 2, 1)]:
        step = np.zeros_like(alpha)
        step[index] = 1e-5
        difference = (loss(alpha + step) - loss(alpha - step)) / 2e-5
        np.testing.assert_allclose(grad[index], difference, rtol=1e-4)


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("inner", ["adapter", "inputs"])
def test_second_derivative_passes_through_the_lean_gradient(inner, trains):
    """Two adapted convolutions in a row, beside plain ones by a kernel with its centre moved."""
    x, kernel, alpha = (array.astype("float32") for array in arrays(3))
    kernel = np.tile(kernel, (1, 1, 1, 2))[..., : x.shape[-1]]
    alpha = np.tile(alpha, (1, 1, 1, 2))[..., : x.shape[-1]]

    def once(x, alpha, lean):
        if lean:
            return backend.convolution(x, kernel, alpha, padding=1, kernel_trains=trains)
        moved = ops.convert_to_tensor(kernel) + ops.pad(alpha, [[1, 1], [1, 1], [0, 0], [0, 0]])
        return backend.convolution(x, moved, padding=1)

    def slope(values, lean):
        def loss(found):
            pair = (x, found[0]) if inner == "adapter" else (found[0], values[0])
            y = ops.tanh(once(once(*pair, lean) / 4.0, pair[1], lean) / 4.0)
            return ops.sum(y), None

        start = values if inner == "adapter" else [ops.convert_to_tensor(x)]
        _, (grad,) = backend.value_and_grad(loss, start)
        return ops.sum(grad**2), None

    found = [
        ops.convert_to_numpy(backend.value_and_grad(lambda v, f=lean: slope(v, f), [alpha])[1][0])
        for lean in (True, False)
    ]
    assert np.abs(found[1]).max() > 0
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-4 * np.abs(found[1]).max())


@pytest.mark.parametrize("rank", [1, 3])
def test_one_and_three_axes(rank):
    x, kernel, alpha = arrays(3, rank=rank)
    values = [array.astype("float32") for array in (x, kernel, alpha)]
    for padding in ("valid", 1):
        right = expected(x, kernel, alpha, 3, padding=padding)
        outputs = ops.convert_to_numpy(backend.convolution(*values, padding=padding))
        np.testing.assert_allclose(outputs, right, rtol=1e-5, atol=1e-5 * np.abs(right).max())


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("groups, padding", [(1, "valid"), (1, 1), (2, "same")])
def test_a_bias_is_added_once_and_has_its_gradient(adapted, groups, padding):
    x, kernel, alpha = arrays(3, groups)
    bias = np.random.default_rng(3).normal(size=6)
    options = {"groups": groups, "padding": padding}
    right = bias + (
        expected(x, kernel, alpha, 3, **options)
        if adapted
        else oracles.convolution(x, kernel, **options)
    )
    cotangent = np.random.default_rng(4).normal(size=right.shape)
    fixed = [array.astype("float32") for array in (x, kernel)]
    weights = ops.convert_to_tensor(cotangent.astype("float32"))

    def run_with(values):
        adapter = alpha.astype("float32") if adapted else None
        outputs = backend.convolution(*fixed, adapter, padding=padding, bias=values[0])
        return ops.sum(outputs * weights), ops.stop_gradient(outputs)

    (_, outputs), (grad,) = backend.value_and_grad(run_with, [bias.astype("float32")])
    np.testing.assert_allclose(ops.convert_to_numpy(outputs), right, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(grad), cotangent.sum((0, 1, 2)), rtol=1e-4, atol=1e-4
    )


def test_compiled_training_moves_the_adapter_alone():
    """A graph that asks for the adapter's gradient only, as a frozen trunk does."""
    x, kernel, alpha = (array.astype("float32") for array in arrays(3))

    class Adapted(keras.Model):
        def __init__(self):
            super().__init__()
            self.kernel = self.add_weight(shape=kernel.shape, trainable=False, name="kernel")
            self.alpha = self.add_weight(shape=alpha.shape, name="alpha")
            self.kernel.assign(kernel)
            self.alpha.assign(alpha)
            self.built = True

        def call(self, inputs):
            return backend.convolution(inputs, self.kernel, self.alpha, kernel_trains=False)

    model = Adapted()
    model.compile(keras.optimizers.SGD(1.0), "mean_squared_error")
    target = np.zeros(model(x).shape, "float32")
    model.fit(x, target, batch_size=2, epochs=1, verbose=0)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.kernel), kernel)
    outputs = expected(x, kernel, alpha, 3)
    step = 2 * outputs / outputs.size
    centre = x[:, 1:-1, 1:-1].reshape(-1, 4).astype("float64")
    moved = alpha.reshape(4, 6) - centre.T @ step.reshape(-1, 6)
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.alpha).reshape(4, 6), moved, rtol=1e-4, atol=1e-4
    )


def test_half_precision_stays_half():
    x, kernel, alpha = (ops.cast(array, "bfloat16") for array in arrays(3))
    for trains in (True, False):
        outputs = backend.convolution(x, kernel, alpha, kernel_trains=trains)
        assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"


def test_a_strided_1x1_convolution_of_few_channels_trains():
    """PyTorch 2.13 crashes in the backward pass of this one when it is left to its own."""
    x = np.random.default_rng(0).normal(size=(4, 64, 64, 8)).astype("float32")
    kernel = np.random.default_rng(1).normal(size=(1, 1, 8, 16)).astype("float32")
    for adapter in (None, kernel):
        _, grads = backend.value_and_grad(
            lambda v, adapter=adapter: (
                ops.sum(backend.convolution(*v, adapter, (2,), kernel_trains=False)),
                None,
            ),
            [x, kernel],
        )
        expected = np.tile(x[:, ::2, ::2].sum((0, 1, 2))[:, None], 16)
        np.testing.assert_allclose(
            ops.convert_to_numpy(grads[1])[0, 0], expected, rtol=1e-3, atol=1e-3
        )


def test_a_kernel_that_changed_is_read_again():
    """A backend may keep a frozen kernel in its own layout, and must see that it has moved."""
    layer = keras.layers.Conv2D(4, 3, use_bias=False)
    x, kernel, _ = arrays(3)
    layer.build(x.shape)
    layer.trainable = False
    values = [kernel[..., :4], 2 * kernel[..., :4], kernel[..., 2:]]
    for value in values:
        layer.kernel.assign(value)
        outputs = ops.convert_to_numpy(
            ops.stop_gradient(backend.convolution(x.astype("float32"), layer.kernel))
        )
        right = oracles.convolution(x, value)
        np.testing.assert_allclose(outputs, right, rtol=1e-5, atol=1e-5 * np.abs(right).max())


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="Others have no data to replace.")
def test_a_kernel_whose_data_were_replaced_is_read_again():
    import torch

    x, kernel, _ = (array.astype("float32") for array in arrays(3))
    layer = keras.layers.Conv2D(6, 3, use_bias=False)
    layer.build(x.shape)
    layer.kernel.assign(kernel)
    with torch.no_grad():
        assert backend.convolution(x, layer.kernel).abs().max() > 0
        layer.kernel.value.data = torch.zeros(kernel.shape)
        assert backend.convolution(x, layer.kernel).abs().max() == 0


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="Others do not show their memory.")
@pytest.mark.parametrize("adapted", [False, True])
def test_the_gradient_of_a_kernel_lies_in_memory_as_the_kernel_does(adapted):
    """A transposed view is what optimizers add slowly."""
    import torch

    x, kernel, alpha = (torch.from_numpy(array.astype("float32")) for array in arrays(3))
    kernel.requires_grad_()
    outputs = backend.convolution(x, kernel, alpha if adapted else None, kernel_trains=True)
    (gradient,) = torch.autograd.grad(outputs.sum(), [kernel])
    assert gradient.stride() == kernel.stride()
