"""Blocks that the networks for dense prediction share, by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.backbones._divisible_sizes import DivisibleSizes
from keras_univrep.backbones._task_attention import TaskAttention
from keras_univrep.backbones._unit_vectors import UnitVectors
from keras_univrep.layers import BatchNormalization, Conv2D
from keras_univrep.types import Tensor

STRIDE = 32
RATIO = 16  # of squeeze and excitation


class DenseBlocks:
    """Puts layers of one dtype on symbolic maps; the name of a block is that of its last layer."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = keras.dtype_policies.get(dtype)

    def checked(self, images: Tensor) -> Tensor:
        """The images, if their sides divide by the stride of the coarsest map."""
        return DivisibleSizes(STRIDE, name="images_checked", dtype=self.dtype)(images)

    def conv(
        self, x: Tensor, filters: int, size: int, name: str, bias: bool = True, **kwargs: Any
    ) -> Tensor:
        """A convolution at stride 1."""
        return Conv2D(
            filters,
            size,
            padding="same",
            use_bias=bias,
            data_format="channels_last",
            name=name,
            dtype=self.dtype,
            **kwargs,
        )(x)

    def relu(self, x: Tensor, name: str) -> Tensor:
        """Its positive part."""
        return keras.layers.ReLU(name=name, dtype=self.dtype)(x)

    def unit(
        self,
        x: Tensor,
        filters: int,
        size: int,
        name: str,
        strides: int = 1,
        activation: bool = True,
    ) -> Tensor:
        """A convolution, batch normalisation, and ReLU if asked for."""
        if strides > 1:
            # "same" would pad an even image on one side only and so sample another grid.
            x = keras.layers.ZeroPadding2D(
                size // 2, data_format="channels_last", name=f"{name}_pad", dtype=self.dtype
            )(x)
        x = Conv2D(
            filters,
            size,
            strides=strides,
            padding="same" if strides == 1 else "valid",
            use_bias=False,
            data_format="channels_last",
            kernel_initializer=keras.initializers.VarianceScaling(
                2.0, mode="fan_out", distribution="untruncated_normal"
            ),
            name=f"{name}_conv",
            dtype=self.dtype,
        )(x)
        x = BatchNormalization(name=f"{name}_bn", dtype=self.dtype)(x)
        return self.relu(x, f"{name}_relu") if activation else x

    def basic(self, x: Tensor, filters: int, name: str) -> Tensor:
        """Two 3x3 units and a shortcut, a 1x1 unit where the channels change."""
        y = self.unit(x, filters, 3, f"{name}_unit1")
        y = self.unit(y, filters, 3, f"{name}_unit2", activation=False)
        return self._residual(x, y, name)

    def bottleneck(self, x: Tensor, inner: int, filters: int, name: str) -> Tensor:
        """Units of 1x1, 3x3 and 1x1 and a shortcut, a 1x1 unit where the channels change."""
        y = self.unit(x, inner, 1, f"{name}_unit1")
        y = self.unit(y, inner, 3, f"{name}_unit2")
        y = self.unit(y, filters, 1, f"{name}_unit3", activation=False)
        return self._residual(x, y, name)

    def _residual(self, x: Tensor, y: Tensor, name: str) -> Tensor:
        if x.shape[-1] != y.shape[-1]:
            x = self.unit(x, y.shape[-1], 1, f"{name}_projection", activation=False)
        return self.relu(self.added([y, x], f"{name}_add"), name)

    def added(self, maps: Sequence[Tensor], name: str) -> Tensor:
        """Their sum."""
        return keras.layers.Add(name=name, dtype=self.dtype)(list(maps))

    def joined(self, maps: Sequence[Tensor], name: str) -> Tensor:
        """All channels of maps of one size."""
        if len(maps) == 1:
            return keras.layers.Identity(name=name, dtype=self.dtype)(maps[0])
        return keras.layers.Concatenate(name=name, dtype=self.dtype)(list(maps))

    def enlarged(
        self,
        x: Tensor,
        factor: int,
        name: str,
        interpolation: str = "bilinear",
        dtype: Any = None,
    ) -> Tensor:
        """The map at `factor` times its size; bilinear with half-pixel centres."""
        return keras.layers.UpSampling2D(
            factor,
            data_format="channels_last",
            interpolation=interpolation,
            name=name,
            dtype=self.dtype if dtype is None else dtype,
        )(x)

    def joined_scales(self, maps: Sequence[Tensor], name: str) -> Tensor:
        """All maps, each half as large as the one before, at the size of the first."""
        up = [maps[0]]
        for number, scale in enumerate(maps[1:], start=1):
            up.append(self.enlarged(scale, 2**number, f"{name}_enlarged{number + 1}"))
        return self.joined(up, name)

    def head(
        self, x: Tensor, channels: int, factor: int, name: str, unit_length: bool, hidden: bool
    ) -> Tensor:
        """A prediction at the size of the images in float32; a 1x1 unit before it if `hidden`."""
        if hidden:
            x = self.unit(x, x.shape[-1], 1, f"{name}_head")
        x = self.conv(x, channels, 1, f"{name}_conv")
        # The output's layer has the output's name, by which Keras knows losses.
        if not unit_length:
            return self.enlarged(x, factor, name, dtype="float32")
        x = self.enlarged(x, factor, f"{name}_enlarged", dtype="float32")
        return UnitVectors(name=name, dtype="float32")(x)

    def distilled(self, features: Mapping[str, Tensor], level: str = "") -> dict[str, Tensor]:
        """What each task gets from the others: attention times message, added to its own."""
        outputs = {}
        for to, own in features.items():
            parts = [own]
            for of, other in features.items():
                if of == to:
                    continue
                name, filters = f"{to}_from_{of}{level}", own.shape[-1]
                message = self.conv(other, filters, 3, f"{name}_message", bias=False)
                attention = self.conv(
                    other, filters, 3, f"{name}_attention", bias=False, activation="sigmoid"
                )
                gated = keras.layers.Multiply(name=name, dtype=self.dtype)
                parts.append(gated([attention, message]))
            name = f"{to}_distilled{level}"
            if len(parts) > 1:
                outputs[to] = self.added(parts, name)
            else:
                outputs[to] = keras.layers.Identity(name=name, dtype=self.dtype)(own)
        return outputs

    def excited(self, x: Tensor, name: str) -> Tensor:
        """Squeeze and excitation: each channel times a gate that all channels' averages set."""
        filters = x.shape[-1]
        gate = keras.layers.GlobalAveragePooling2D(
            data_format="channels_last", keepdims=True, name=f"{name}_squeeze", dtype="float32"
        )(x)
        for part, units, activation in (
            ("reduce", max(1, filters // RATIO), "relu"),
            ("expand", filters, "sigmoid"),
        ):
            gate = keras.layers.Dense(
                units, activation, use_bias=False, name=f"{name}_{part}", dtype=self.dtype
            )(gate)
        return keras.layers.Multiply(name=name, dtype=self.dtype)([x, gate])

    def attended(self, logits: Tensor, x: Tensor, num_tasks: int, name: str) -> Tensor:
        """The channels of all tasks times their softmax over tasks."""
        return TaskAttention(num_tasks, name=name, dtype=self.dtype)([logits, x])


def maps_of(backbone: keras.Model) -> list[Tensor]:
    """The four maps of a functional model, of strides 4, 8, 16 and 32."""
    found = backbone.output if hasattr(backbone, "operations") else None
    if isinstance(found, Mapping):
        found = list(found.values())
    sizes = None
    if isinstance(found, (list, tuple)) and len(backbone.inputs) == 1:
        image = keras.KerasTensor((1, 2 * STRIDE, 2 * STRIDE, backbone.inputs[0].shape[-1]))
        outputs = keras.tree.flatten(backbone.compute_output_spec(image))
        sizes = [tuple(output.shape[1:3]) for output in outputs]
    if sizes != [(2 * STRIDE // stride,) * 2 for stride in (4, 8, 16, 32)]:
        raise ValueError(
            "`backbone` must be a functional model of images with a list or dictionary of four "
            f"maps at the strides 4, 8, 16 and 32. Received: {type(backbone).__name__} with the "
            f"sizes {sizes} for images of {2 * STRIDE}. Pass for example HRNet18()."
        )
    return list(found or ())
