"""Reconciliation layers: what the sub-backbone of one task hands to that of another."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.layers.adapted_layer import fresh_initializer
from keras_univrep.layers.batch_normalization import BatchNormalization
from keras_univrep.layers.conv2d import Conv2D
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class ReconciliationLayer(keras.layers.Layer):
    """Brings a map of one task's sub-backbone to the place and channels of another's.

    Equation:
        he2022, section 3.2, the layer from level j of task k to level i of task t, with x the map
        of task k cut off from the gradient:

            gamma(x) = (gamma_a o .. o gamma_a o gamma_b)(x)       i - j times gamma_a, j <= i
            gamma(x) = (gamma_c o .. o gamma_c o gamma_b)(x)       j - i times gamma_c, j >= i

            gamma_b(x) = N(x * w_b)                     1x1, over to the channels of task t
            gamma_a(x) = N(max(x, 0) * w_a)             stride `strides`, a level deeper
            gamma_c(x) = N(up(max(x, 0)) * w_c)         up by `strides`, a level shallower

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, height, width, channels) |
        | w_b | `convolutions[0].kernel` | (1, 1, channels, filters[0]) |
        | w_a, w_c | `convolutions[s].kernel` | (*kernel_size, filters[s - 1], filters[s]) |
        | N | `normalizations[s]`, batch normalisation | |

    Differences: Printed are the order of gamma_b and gamma_a, that gamma_c is an up-sampling and a
        convolution, that inputs are detached, and Xavier's initial values. Not printed are the
        kernels, strides, normalisation and activation. Chosen is what exchanges maps of several
        resolutions elsewhere (HRNet): 1x1 within a level, 3x3 of the stride of the step between
        levels, each normalised, as the maps of two tasks need not have one scale, and a ReLU
        between steps but none at the end, where the sum of eq. 2 takes any sign. Up-sampling takes
        the nearest position. All are arguments.

    Args:
        filters: Channels of task t after gamma_b and after each further step, ending with level
            i; a number where i = j.
        strides: Factor of the resolution in each step, one for all or one for each.
        reverse: Whether the steps are gamma_c, from deep to shallow.
        kernel_size: Kernel of gamma_a and gamma_c, an odd number.
        normalize: Whether each convolution is normalised; otherwise it has a bias.
        activation: Activation between the steps.
        interpolation: Of gamma_c: `"nearest"` or `"bilinear"`.
        detach: Whether the gradient ends at the inputs.
        kernel_initializer: Initializer of the kernels.
        gamma_initializer: Initializer of the scale of the last normalisation; with `"zeros"` a
            fresh layer adds nothing.
        kernel_constraints: Constraint of each kernel in turn, or `None`; `prune` sets them.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, height, width, channels).
        training: Whether the normalisations use the statistics of the batch.

    Returns:
        A tensor of shape (batch, height', width', filters[-1]); each step takes a side n to n /
        stride, rounded up, or to n stride.

    Raises:
        ValueError: If `filters`, `strides` or `kernel_size` are none of the above.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import ReconciliationLayer
        >>> x = np.ones((2, 8, 8, 4), "float32")
        >>> tuple(ReconciliationLayer([8, 16, 32])(x).shape)
        (2, 2, 2, 32)
        >>> tuple(ReconciliationLayer([8, 6], reverse=True)(x).shape)
        (2, 16, 16, 6)

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
        - Glorot, Bengio. Understanding the difficulty of training deep feedforward neural
          networks. AISTATS 2010.
    """

    def __init__(
        self,
        filters: int | Sequence[int],
        strides: int | Sequence[int] = 2,
        reverse: bool = False,
        kernel_size: int = 3,
        normalize: bool = True,
        activation: Any = "relu",
        interpolation: str = "nearest",
        detach: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        gamma_initializer: Any = "ones",
        kernel_constraints: Sequence[Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = (filters,) if isinstance(filters, int) else tuple(filters)
        steps = len(self.filters) - 1
        self.strides = (strides,) * steps if isinstance(strides, int) else tuple(strides)
        numbers = (*self.filters, *self.strides)
        if steps < 0 or any(not isinstance(number, int) or number < 1 for number in numbers):
            raise ValueError(
                "`filters` and `strides` must hold positive numbers. Received: "
                f"filters={filters!r}, strides={strides!r}. Pass the channels of each level on the "
                "way."
            )
        if len(self.strides) != steps:
            raise ValueError(
                "`strides` must have one entry less than `filters`, as the first convolution stays "
                f"within its level. Received: filters={filters!r}, strides={strides!r}. Pass one "
                "number for all."
            )
        if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                "`kernel_size` must be an odd number, so that maps stay centred. Received: "
                f"kernel_size={kernel_size!r}. Pass 1 or 3."
            )
        self.reverse = reverse
        self.kernel_size = kernel_size
        self.normalize = normalize
        self.activation = keras.activations.get(activation)
        self.interpolation = interpolation
        self.detach = detach
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        constraints = [None] * (steps + 1) if kernel_constraints is None else kernel_constraints
        names = ["gamma_b", *(f"gamma_{'c' if reverse else 'a'}{n}" for n in range(1, steps + 1))]
        self.convolutions = [
            Conv2D(
                self.filters[number],
                kernel_size if number else 1,
                strides=self.strides[number - 1] if number and not reverse else 1,
                padding=kernel_size // 2 if number else 0,
                use_bias=not normalize,
                data_format="channels_last",
                kernel_initializer=fresh_initializer(self.kernel_initializer),
                kernel_constraint=constraint,
                name=name,
                dtype=self.dtype_policy,
            )
            for number, (name, constraint) in enumerate(zip(names, constraints, strict=True))
        ]
        self.normalizations = [
            BatchNormalization(
                gamma_initializer=self.gamma_initializer if number == steps else "ones",
                name=f"{name}_normalization",
                dtype=self.dtype_policy,
            )
            for number, name in enumerate(names)
            if normalize
        ]
        self.upsamplings = [
            keras.layers.UpSampling2D(
                stride, data_format="channels_last", interpolation=interpolation,
                dtype=self.dtype_policy,
            )
            for stride in self.strides
            if reverse
        ]  # fmt: skip

    def build(self, input_shape: Shape) -> None:
        for number, convolution in enumerate(self.convolutions):
            convolution.build(input_shape)
            input_shape = self._after(number, input_shape)
            if self.normalize:
                self.normalizations[number].build(input_shape)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        x = ops.stop_gradient(inputs) if self.detach else inputs
        for number, convolution in enumerate(self.convolutions):  # he2022 sec. 3.2
            if number:
                x = self.activation(x)
                if self.reverse:
                    x = self.upsamplings[number - 1](x)
            x = convolution(x)
            if self.normalize:
                x = self.normalizations[number](x, training=training)
        return x

    def constrain(self, constraints: Sequence[Any] | None) -> None:
        """Gives each kernel a constraint, which the optimizer applies after its steps.

        Args:
            constraints: One constraint or `None` for each of `convolutions`; or `None` for none.
        """
        constraints = [None] * len(self.convolutions) if constraints is None else constraints
        for convolution, constraint in zip(self.convolutions, constraints, strict=True):
            convolution.kernel_constraint = keras.constraints.get(constraint)
            convolution.kernel.constraint = convolution.kernel_constraint

    def _after(self, number: int, shape: Shape) -> Shape:
        """Shape after a convolution and what comes before it."""
        sizes = shape[1:3]
        if number:
            stride = self.strides[number - 1]
            sizes = [
                size and (size * stride if self.reverse else -(-size // stride)) for size in sizes
            ]
        return (shape[0], *sizes, self.filters[number])

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        for number in range(len(self.filters)):
            input_shape = self._after(number, input_shape)
        return input_shape

    def get_config(self) -> dict[str, Any]:
        constraints = [convolution.kernel_constraint for convolution in self.convolutions]
        return {
            **super().get_config(),
            "filters": list(self.filters),
            "strides": list(self.strides),
            "reverse": self.reverse,
            "kernel_size": self.kernel_size,
            "normalize": self.normalize,
            "activation": keras.activations.serialize(self.activation),
            "interpolation": self.interpolation,
            "detach": self.detach,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "kernel_constraints": (
                [keras.constraints.serialize(constraint) for constraint in constraints]
                if any(constraint is not None for constraint in constraints)
                else None
            ),
        }
