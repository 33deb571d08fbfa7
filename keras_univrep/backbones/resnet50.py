"""ResNet-50 and its deeper forms, with the maps of four levels."""

from typing import Any

import keras

from keras_univrep.layers import BatchNormalization, Conv2D
from keras_univrep.types import Tensor

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
POOLINGS = (None, "avg")
STRIDES = (32, 16, 8)


@keras.saving.register_keras_serializable(package="keras_univrep")
class ResNet50(keras.Model):
    """The residual network of bottlenecks with 50, 101 or 152 layers, as a functional model.

    A 7x7 stem of stride 2 and a 3x3 maximum of stride 2, then four stages of bottlenecks, whose
    last maps are the layers `"level2"`, `"level3"`, `"level4"` and `"level5"` of the strides 4, 8,
    16 and 32.

    Equation:
        He et al. (2016), a block with input x, convolutions f_1 (1x1), f_2 (3x3) and f_3 (1x1),
        each followed by its batch normalisation N:

            x' = max(N_3(f_3 * max(N_2(f_2 * max(N_1(f_1 * x), 0)), 0)) + s(x), 0)

        | symbol | here | shape |
        |---|---|---|
        | x | input of a block | (batch, height, width, channels) |
        | s | identity; in the first block of a stage a 1x1 convolution and its normalisation | |

    Differences: The stride of a stage is that of the 3x3 convolution of its first block, as in
        PyTorch's networks; He et al. have it in the 1x1 before. `output_stride` is as in Chen et
        al. (2017). he2022's HalfResNet-50 has
        channels over the square root of 2, hence half the parameters: `width=0.5**0.5`.

    Args:
        depth: 50, 101 or 152.
        width: Factor of all channel numbers.
        channels: Channels of the images.
        pooling: `"avg"` for one vector an image, or `None` for the four maps.
        output_stride: 32, or 16 or 8 for dense tasks: later stages then keep the size of the map
            and spread the taps of their 3x3 convolutions. The weights are the same.
        dtype: Dtype or policy of all layers.
        **kwargs: `name` and `trainable` of a Keras model.

    Call arguments:
        images: Images of shape (batch, height, width, channels).
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        `{"level2": (batch, height / 4, width / 4, 256 width), "level3": (.. / 8, 512 width),
        "level4": (.. / 16, 1024 width), "level5": (.. / 32, 2048 width)}`, sizes rounded up; with
        `pooling="avg"` features of shape (batch, 2048 width).

    Raises:
        ValueError: If an argument is none of the above.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import ResNet50
        >>> network = ResNet50(width=0.0625)
        >>> {name: tuple(y.shape) for name, y in network(np.ones((2, 64, 64, 3))).items()}
        {'level2': (2, 16, 16, 16), 'level3': (2, 8, 8, 32), 'level4': (2, 4, 4, 64), 'level5': ...}

    References:
        - He, Zhang, Ren, Sun. Deep residual learning for image recognition. CVPR 2016.
        - Chen, Papandreou, Schroff, Adam. Rethinking atrous convolution for semantic image
          segmentation. 2017.
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
    """

    def __init__(
        self,
        depth: int = 50,
        width: float = 1.0,
        channels: int = 3,
        pooling: str | None = None,
        output_stride: int = 32,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        if depth not in BLOCKS or pooling not in POOLINGS:
            raise ValueError(
                f"`depth` must be one of {list(BLOCKS)} and `pooling` one of {list(POOLINGS)}. "
                f"Received: depth={depth!r}, pooling={pooling!r}. Pass one of these."
            )
        if output_stride not in STRIDES:
            raise ValueError(
                f"`output_stride` must be one of {list(STRIDES)}. "
                f"Received: output_stride={output_stride!r}. Pass one of these."
            )
        if not width > 0:
            raise ValueError(
                f"`width` must be positive. Received: width={width}. Pass 1.0 for the paper's."
            )
        policy = keras.dtype_policies.get(dtype)
        images = keras.Input((None, None, channels), name="images", dtype=policy.compute_dtype)
        x = _unit(images, _scaled(64, width), 7, "stem", policy, strides=2)
        # After a ReLU zeros around the map are as good as minus infinity.
        x = keras.layers.ZeroPadding2D(
            1, data_format="channels_last", name="pool_pad", dtype=policy
        )(x)
        x = keras.layers.MaxPooling2D(
            3, 2, data_format="channels_last", name="pool", dtype=policy
        )(x)  # fmt: skip
        maps, dilation = {}, 1
        for stage, blocks in enumerate(BLOCKS[depth]):
            inner, filters = _scaled(64 * 2**stage, width), _scaled(256 * 2**stage, width)
            level = f"level{stage + 2}"
            spread = 4 * 2**stage > output_stride
            for block in range(1, blocks + 1):
                # The maximum already halved the map; the first stage keeps its size.
                strides = 2 if block == 1 and stage and not spread else 1
                name = f"{level}_block{block}"
                last = block == blocks
                x = _block(x, inner, filters, strides, dilation, name, policy, level, last)
                # From the second on, where a stride of the first would have thinned the map.
                dilation *= 2 if block == 1 and spread else 1
            maps[level] = x
        outputs: Any = maps
        if pooling is not None:
            outputs = keras.layers.GlobalAveragePooling2D(
                data_format="channels_last", name="features", dtype=policy
            )(x)
        super().__init__(inputs=images, outputs=outputs, **kwargs)
        self.depth = depth
        self.width = width
        self.channels = channels
        self.pooling = pooling
        self.output_stride = output_stride
        self.filters = filters
        self.policy = policy

    def get_config(self) -> dict[str, Any]:
        constraints = {
            layer.name: keras.constraints.serialize(layer.kernel_constraint)
            for layer in self.layers
            if getattr(layer, "kernel_constraint", None) is not None
        }
        return {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.policy),
            "depth": self.depth,
            "width": self.width,
            "channels": self.channels,
            "pooling": self.pooling,
            "output_stride": self.output_stride,
            # What `prune` gave its layers.
            "kernel_constraints": constraints,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "ResNet50":
        """Builds the network that `get_config` describes.

        Args:
            config: What `get_config` gave.
            custom_objects: Not used; Keras passes it for models of this kind.

        Returns:
            A network with new weights.
        """
        config = dict(config)
        constraints = config.pop("kernel_constraints", {})
        network = cls(**config)
        for name, constraint in constraints.items():
            layer = network.get_layer(name)
            layer.kernel_constraint = keras.constraints.get(constraint)
            layer.kernel.constraint = layer.kernel_constraint
        return network


def _scaled(filters: int, width: float) -> int:
    return max(1, round(filters * width))


def _unit(
    x: Tensor, filters: int, size: int, name: str, policy: Any, strides: int = 1,
    activation: bool = True, dilation: int = 1,
) -> Tensor:  # fmt: skip
    """A convolution, batch normalisation, and ReLU if asked for."""
    x = Conv2D(
        filters,
        size,
        strides=strides,
        padding=dilation * (size // 2),
        dilation_rate=dilation,
        use_bias=False,
        data_format="channels_last",
        kernel_initializer=keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        ),
        name=f"{name}_conv",
        dtype=policy,
    )(x)
    x = BatchNormalization(name=f"{name}_bn", dtype=policy)(x)
    return keras.layers.ReLU(name=f"{name}_relu", dtype=policy)(x) if activation else x


def _block(
    x: Tensor, inner: int, filters: int, strides: int, dilation: int, name: str, policy: Any,
    level: str, last: bool,
) -> Tensor:  # fmt: skip
    """A bottleneck; that at the end of a stage has the name of its level."""
    y = _unit(x, inner, 1, f"{name}_unit1", policy)
    y = _unit(y, inner, 3, f"{name}_unit2", policy, strides, dilation=dilation)
    y = _unit(y, filters, 1, f"{name}_unit3", policy, activation=False)
    if name.endswith("_block1"):
        x = _unit(x, filters, 1, f"{name}_projection", policy, strides, activation=False)
    x = keras.layers.Add(name=f"{name}_add", dtype=policy)([y, x])
    return keras.layers.ReLU(name=level if last else name, dtype=policy)(x)  # He et al. eq. 1
