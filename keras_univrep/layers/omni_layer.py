"""The Omni-Layer: a layer that three flows share, with a light branch for two of them."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep.layers.adapted_layer import (
    adapter_shape,
    check_layer,
    filters_of,
    finish,
    fresh_initializer,
    restore_layer,
    run,
)
from keras_univrep.layers.copy_weights import copy_weights
from keras_univrep.layers.flows import FLOWS, PARALLEL, check_flow
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class OmniLayer(keras.layers.Layer):
    """A convolution or dense layer with a 1x1 branch each for pre-training and meta-training.

    Equation:
        shu2021, equation 3, for layer l of the three flows:

            x_joint' = a_joint(f_joint(x_joint))
            x_pre'   = a_pre(f_pre(x_pre) + f_joint(x_pre))
            x_meta'  = a_meta(f_meta(x_meta) + f_joint(x_meta))

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` of one flow | (batch, *spatial, channels) |
        | f_joint | `layer`, without its activation | (*kernel_size, channels / groups, filters) |
        | f_pre, f_meta | `branch(flow)` | (*1, channels / groups, filters) |
        | a | `normalization(flow)`, then the activation | |

        The branch is added to the centre tap of the kernel, and one convolution computes the sum of
        both; it samples the same positions whatever the stride, dilation, padding and groups.

    Differences: The paper does not print how branches start. They start at zero here, so that the
        three flows are one at first; pass `branch_initializer` for another start. The branch of a
        layer with a bias has a bias, zero at first.

    Args:
        layer: A `Conv1D`, `Conv2D`, `Conv3D` or `DepthwiseConv2D` with odd kernel sizes, or a
            `Dense`, whose branch is a matrix of the kernel's size. It is part of this layer.
        normalization: A normalisation of which each flow has a copy, or `None`. The one that is
            passed is the joint flow's.
        activation: What comes after it: a name or function that all flows share, or a layer with
            weights, such as `PReLU`, of which each flow has a copy. `None` for none. The
            activation of `layer` itself stands before the normalisation.
        branch_initializer: Initializer of the branches.
        branch_regularizer: Regularizer of the branches.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Tensor of shape (batch, *spatial, channels).
        flow: `"joint"`, `"pre"` or `"meta"`.
        training: Whether normalisations use the statistics of the batch.

    Returns:
        A tensor of the shape that `layer` returns.

    Raises:
        TypeError: If `layer` is none of these Keras layers, such as one without a kernel.
        ValueError: If a kernel size is even, or the flow unknown.

    Example:
        >>> import keras, numpy as np
        >>> from keras_univrep.layers import BatchNormalization, OmniLayer
        >>> layer = OmniLayer(keras.layers.Conv2D(8, 3), BatchNormalization(), "relu")
        >>> tuple(layer(np.ones((2, 5, 5, 3), "float32"), flow="meta").shape)
        (2, 3, 3, 8)

    References:
        Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        normalization: keras.layers.Layer | None = None,
        activation: Any = None,
        branch_initializer: Any = "zeros",
        branch_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_layer(layer, type(self).__name__)
        self.layer = layer
        own = isinstance(activation, keras.layers.Layer)
        self.activation = activation if own else keras.activations.get(activation)
        self.branch_initializer = keras.initializers.get(branch_initializer)
        self.branch_regularizer = keras.regularizers.get(branch_regularizer)
        self.normalizations = [] if normalization is None else copies_by_flow(normalization)
        self.activations = copies_by_flow(activation) if own else []
        self.branches: list[keras.layers.Layer] = []

    def build(self, input_shape: Shape) -> None:
        if not self.layer.built:
            self.layer.build(input_shape)
        shape = self.layer.compute_output_shape(input_shape)
        for part in (*self.normalizations, *self.activations):
            if not part.built:
                part.build(shape)
        for parts in (self.normalizations, self.activations):
            for part in parts[1:]:
                copy_weights(parts[0], part)
        self.branches = [self._make_branch(flow) for flow in PARALLEL]

    def _make_branch(self, flow: str) -> keras.layers.Layer:
        branch = keras.layers.Layer(name=f"branch_{flow}", dtype=self.dtype_policy)
        with keras.name_scope(branch.name, caller=branch):
            branch.kernel = branch.add_weight(
                shape=adapter_shape(self.layer),
                initializer=fresh_initializer(self.branch_initializer),
                regularizer=self.branch_regularizer,
                name="kernel",
            )
            branch.bias = None
            if self.layer.use_bias:
                branch.bias = branch.add_weight(
                    shape=(filters_of(self.layer),), initializer="zeros", name="bias"
                )
        branch.built = True
        return branch

    def branch(self, flow: str) -> keras.layers.Layer:
        """Returns the branch of a parallel flow, with its `kernel` and its `bias` or `None`.

        Args:
            flow: `"pre"` or `"meta"`.
        """
        return self.branches[PARALLEL.index(check_flow(flow, self.name, PARALLEL))]

    def normalization(self, flow: str) -> keras.layers.Layer | None:
        """Returns the normalisation of a flow, or `None`.

        Args:
            flow: `"joint"`, `"pre"` or `"meta"`.
        """
        place = FLOWS.index(check_flow(flow, self.name))
        return self.normalizations[place] if self.normalizations else None

    def call(self, inputs: Tensor, flow: str = "joint", training: bool | None = None) -> Tensor:
        place = FLOWS.index(check_flow(flow, self.name))
        if flow == "joint":
            x = finish(self.layer, run(self.layer, inputs))  # shu2021 eq. 3
        else:
            own = self.branch(flow)
            kernel = ops.convert_to_tensor(own.kernel)
            bias = None
            if own.bias is not None:
                bias = ops.convert_to_tensor(self.layer.bias) + ops.convert_to_tensor(own.bias)
            x = finish(self.layer, run(self.layer, inputs, adapter=kernel), bias)  # eq. 3
        if self.normalizations:
            x = self.normalizations[place](x, training=training)
        if self.activations:
            return self.activations[place](x)
        return x if self.activation is None else self.activation(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.layer.compute_output_shape(input_shape)

    def merged_weights(self, flow: str = "joint") -> tuple[np.ndarray, np.ndarray | None]:
        """Returns kernel and bias with which `layer` alone computes what a flow does.

        Args:
            flow: `"joint"`, `"pre"` or `"meta"`.

        Returns:
            The kernel, float32, of the shape of the layer's; and its bias, or `None`. The
            normalisation and the activation are not in them.
        """
        kernel = ops.convert_to_numpy(self.layer.kernel)
        bias = ops.convert_to_numpy(self.layer.bias) if self.layer.use_bias else None
        if check_flow(flow, self.name) == "joint":
            return kernel, bias
        own = self.branch(flow)
        sizes = kernel.shape[:-2]
        around = [[(size - 1) // 2] * 2 for size in sizes] + [[0, 0]] * 2
        kernel = kernel + np.pad(ops.convert_to_numpy(own.kernel), around)
        return kernel, bias if bias is None else bias + ops.convert_to_numpy(own.bias)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        own = isinstance(self.activation, keras.layers.Layer)
        first = self.normalizations[0] if self.normalizations else None
        return {
            **super().get_config(),
            "layer": serialize(self.layer),
            "normalization": None if first is None else serialize(first),
            "activation": serialize(self.activation)
            if own
            else keras.activations.serialize(self.activation),
            "branch_initializer": keras.initializers.serialize(self.branch_initializer),
            "branch_regularizer": keras.regularizers.serialize(self.branch_regularizer),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "OmniLayer":
        config = {**config, "layer": restore_layer(config["layer"])}
        for key in ("normalization", "activation"):
            # A function has a configuration without parts of its own.
            if isinstance(config[key], dict) and "build_config" in config[key]:
                config[key] = restore_layer(config[key])
            elif isinstance(config[key], dict):
                config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)


def copies_by_flow(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns the layer, for the joint flow, and a layer of its configuration for each other."""
    config = layer.get_config()
    return [
        layer,
        *(
            type(layer).from_config({**config, "name": f"{config['name']}_{flow}"})
            for flow in PARALLEL
        ),
    ]
