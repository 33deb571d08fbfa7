"""ResNet-26 for images of about 64 pixels, with residual adapters at any placement."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import (
    BatchNormalization,
    Conv2D,
    DomainBatchNormalization,
    ParallelAdapter,
    SeriesAdapter,
)
from keras_univrep.layers.copy_weights import copy_weights
from keras_univrep.layers.domain_names import check_domain, check_domains
from keras_univrep.types import Shape, Tensor

ADAPTERS = {"parallel": ParallelAdapter, "series": SeriesAdapter}
STAGES = ("early", "mid", "late")
PLACEMENTS = ("all", "half", "stem", *STAGES)
NORMALIZATIONS = ("shared", "domain", "folded")


@keras.saving.register_keras_serializable(package="keras_univrep")
class ResNet26(keras.Model):
    """The 26-layer residual network of the Visual Decathlon, shared by any number of domains.

    A 3x3 stem, three stages of four blocks with 64, 128 and 256 channels, the first block of
    each stage with stride 2, a last batch normalisation, and the average over positions.

    Equation:
        rebuffi2018, section 3.2; a block with input x, convolutions f_1, f_2 (adapted as chosen)
        and batch normalisations N_1, N_2:

            x' = max(N_2(f_2 * max(N_1(f_1 * x), 0)) + s(x), 0)

        | symbol | here | shape |
        |---|---|---|
        | x | input of a block | (batch, height, width, channels) |
        | s | identity; at stride 2 the 2x2 average, zeros appended to the channels | |

    Differences: The paper's text leaves out what the official code does and this class follows:
        the stride of the first stage, the zero-padded shortcut, no activation after the stem, and
        the last batch normalisation. li2022's code has no activation after it
        (`end_activation=False`) and one batch normalisation for all domains
        (`normalization="shared"`). Adapters start at zero here, and like convolutions in the code.
        The code's "half" adapts the stem as well: `placement=["stem", "half"]`.

    Args:
        domains: Names of the domains, or `None` for one network without domains.
        adapter: `"parallel"`, `"series"`, or `None` for no adapters.
        placement: Which convolutions are adapted: `"all"` (with the stem), `"half"` (the second of
            each block), `"stem"`, a stage, `"early"`, `"mid"` or `"late"`; or several of these.
        normalization: `"domain"` for a batch normalisation of each domain's own, or `"shared"`.
            Defaults to `"domain"` where there are adapters. `"folded"`: convolutions have a bias
            and no normalisation after them, as `compression.fuse` makes it; the last one stays.
        width: Factor of all channel numbers (rebuffi2018, figure 4).
        end_activation: Whether a ReLU follows the last batch normalisation.
        adapter_initializer: Initializer of the adapters.
        dropout: Fraction of channels dropped before each parallel adapter while training.
        channels: Channels of the images.
        pooling: `"avg"` for one vector an image, or `None` for the map.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: Normalised images of shape (batch, height, width, channels).
        domain: Name of the images' domain; may be omitted where nothing depends on it.
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        Features of shape (batch, 256 width), or (batch, height / 8, width / 8, 256 width) without
        pooling.

    Raises:
        ValueError: If an argument is none of the above, or the domain is unknown.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import ResNet26
        >>> network = ResNet26(domains=["photo", "sketch"], adapter="parallel", width=0.25)
        >>> tuple(network(np.ones((2, 32, 32, 3), "float32"), domain="sketch").shape)
        (2, 64)

    References:
        Rebuffi, Bilen, Vedaldi. Efficient parametrization of multi-domain deep neural networks.
        CVPR 2018.
    """

    # Keras's, on TensorFlow, calls a model without a domain when one around it is exported.
    _default_save_signature = None

    def __init__(
        self,
        domains: Sequence[str] | None = None,
        adapter: str | None = None,
        placement: str | Sequence[str] = "all",
        normalization: str | None = None,
        width: float = 1.0,
        end_activation: bool = True,
        adapter_initializer: Any = "zeros",
        dropout: float = 0.0,
        channels: int = 3,
        pooling: str | None = "avg",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if normalization is None:
            normalization = "domain" if adapter is not None else "shared"
        self.domains = check_domains(domains, self.name)
        self.adapter = _one_of("adapter", adapter, (*ADAPTERS, None))
        self.placement = _check_placement(placement)
        self.normalization = _one_of("normalization", normalization, NORMALIZATIONS)
        self.width = width
        self.end_activation = end_activation
        self.adapter_initializer = keras.initializers.get(adapter_initializer)
        self.dropout = dropout
        self.channels = channels
        self.pooling = _one_of("pooling", pooling, ("avg", None))
        if self.domains is None and (adapter or normalization == "domain"):
            raise ValueError(
                "`domains` must name the domains that have parts of their own. Received: "
                f"domains=None, adapter={adapter!r}, normalization={normalization!r}. "
                "Pass domains=[...]."
            )
        if dropout and adapter != "parallel":
            raise ValueError(
                "`dropout` acts on the input of parallel adapters. Received: "
                f"dropout={dropout}, adapter={adapter!r}. Pass adapter='parallel' or dropout=0."
            )
        sizes = [max(1, round(size * width)) for size in (32, 64, 128, 256)]
        self.filters = sizes[-1]
        self.stem = self._unit(
            sizes[0], 1, "all" in self.placement or "stem" in self.placement, "stem"
        )
        self.blocks: list[_Block] = []
        for stage, filters in zip(STAGES, sizes[1:]):
            for number in range(4):
                first = stage in self.placement or "all" in self.placement
                strides = 1 if number else 2
                self.blocks.append(
                    _Block(
                        self._unit(filters, strides, first, "unit1"),
                        self._unit(filters, 1, first or "half" in self.placement, "unit2"),
                        strides,
                        name=f"{stage}_block{number + 1}",
                        dtype=self.dtype_policy,
                    )
                )
        self.end_normalization = self._normalization()
        # Every channel count is known, so the weights exist from the start: nothing is created
        # inside a compiled step, and a fresh network can be counted, loaded and saved at once.
        self.build((None, None, None, channels))

    def _unit(self, filters: int, strides: int, adapted: bool, name: str) -> "_Unit":
        convolution = Conv2D(
            filters,
            3,
            strides=strides,
            padding=1,
            use_bias=self.normalization == "folded",
            data_format="channels_last",
            kernel_initializer=keras.initializers.VarianceScaling(
                2.0, mode="fan_out", distribution="untruncated_normal"
            ),
            name="convolution",
            dtype=self.dtype_policy,
        )
        if adapted and self.adapter is not None:
            extra = {"dropout": self.dropout} if self.adapter == "parallel" else {}
            convolution = ADAPTERS[self.adapter](
                convolution,
                self.domains,
                adapter_initializer=self.adapter_initializer,
                name="adapted",
                dtype=self.dtype_policy,
                **extra,
            )
        return _Unit(
            convolution,
            None if self.normalization == "folded" else self._normalization(),
            name=name,
            dtype=self.dtype_policy,
        )

    def _normalization(self) -> BatchNormalization | DomainBatchNormalization:
        if self.normalization == "domain":
            return DomainBatchNormalization(
                self.domains or (), name="normalization", dtype=self.dtype_policy
            )
        return BatchNormalization(name="normalization", dtype=self.dtype_policy)

    @property
    def depends_on_domain(self) -> bool:
        """Whether domains have parts of their own, so that a batch must be of one domain."""
        return self.adapter is not None or self.normalization == "domain"

    def build(self, input_shape: Shape) -> None:
        if self.built:
            return
        shape: Shape = (None, None, None, input_shape[-1])
        parts: tuple[_Unit | _Block, ...] = (self.stem, *self.blocks)
        for part in parts:
            part.build(shape)
            shape = part.compute_output_shape(shape)
        self.end_normalization.build(shape)
        self.built: bool = True

    def call(
        self, images: Tensor, domain: str | None = None, training: bool | None = None
    ) -> Tensor:
        domain = self._check_domain(domain)
        _check_images(images, self.channels, self.name)
        x = self.stem(images, domain=domain, training=training)
        for block in self.blocks:
            x = block(x, domain=domain, training=training)
        x = _normalize(self.end_normalization, x, domain, training)
        if self.end_activation:
            x = ops.relu(x)
        return ops.mean(x, axis=(1, 2)) if self.pooling else x

    def compute_output_spec(
        self, images: Tensor, domain: str | None = None, training: bool | None = None
    ) -> keras.KerasTensor:
        """Returns the shape and dtype of the features, without running the network."""
        # Keras would run it on made-up sizes where one is unknown, which are no multiples of 8.
        self._check_domain(domain)
        _check_images(images, self.channels, self.name)
        sizes = () if self.pooling else tuple(size and size // 8 for size in images.shape[1:3])
        return keras.KerasTensor((images.shape[0], *sizes, self.filters), self.compute_dtype)

    def _check_domain(self, domain: str | None) -> str | None:
        if self.depends_on_domain or (domain is not None and self.domains is not None):
            return check_domain(domain, self.domains, self.name)
        return domain

    def initialize_from(self, trunk: "ResNet26") -> None:
        """Copies the convolutions and batch normalisations of another network into this one.

        Adapters keep their values. A normalisation that domains share there is copied to each
        domain here; one that belongs to a domain, to the domain of that name.

        Args:
            trunk: A network of the same width and channels, with the normalisation of every domain
                of this one.

        Raises:
            ValueError: If the widths differ, or a domain's normalisation is missing, or the
                normalisations of one of the networks are folded.
        """
        if trunk.width != self.width or trunk.channels != self.channels:
            raise ValueError(
                "`trunk` must have this network's width and channels. Received: "
                f"width={trunk.width}, channels={trunk.channels}; here {self.width}, "
                f"{self.channels}. Build one of them anew."
            )
        if "folded" in (trunk.normalization, self.normalization):
            raise ValueError(
                "Both networks must have their normalisations, which a folded one no longer has. "
                f"Received: normalization={trunk.normalization!r}; here {self.normalization!r}. "
                "Start from the network before `compression.fuse`, or `unfuse` it."
            )
        normalizations: list[Any] = [(self.end_normalization, trunk.end_normalization)]
        for mine, theirs in zip(self._units(), trunk._units()):
            # A copy: on JAX the two would share a buffer, which the first training step gives away.
            mine.kernel.assign(np.array(ops.convert_to_numpy(theirs.kernel)))
            normalizations.append((mine.normalization, theirs.normalization))
        own = self.domains if self.normalization == "domain" else None
        for to, of in normalizations:
            for name in own or (None,):
                target = to if name is None else to.normalization(name)
                copy_weights(_normalization_of(of, name), target)

    def _units(self) -> list["_Unit"]:
        return [self.stem, *(unit for block in self.blocks for unit in (block.unit1, block.unit2))]

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "domains": None if self.domains is None else list(self.domains),
            "adapter": self.adapter,
            "placement": list(self.placement),
            "normalization": self.normalization,
            "width": self.width,
            "end_activation": self.end_activation,
            "adapter_initializer": keras.initializers.serialize(self.adapter_initializer),
            "dropout": self.dropout,
            "channels": self.channels,
            "pooling": self.pooling,
        }


class _Unit(keras.layers.Layer):
    """A convolution, adapted or not, and the batch normalisation after it, if not folded."""

    def __init__(
        self,
        convolution: keras.layers.Layer,
        normalization: keras.layers.Layer | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.convolution = convolution
        self.normalization = normalization

    def build(self, input_shape: Shape) -> None:
        self.convolution.build(input_shape)
        if self.normalization is not None:
            self.normalization.build(self.convolution.compute_output_shape(input_shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.convolution.compute_output_shape(input_shape)

    @property
    def kernel(self) -> keras.Variable:
        adapted = isinstance(self.convolution, (ParallelAdapter, SeriesAdapter))
        return (self.convolution.layer if adapted else self.convolution).kernel

    def call(self, x: Tensor, domain: str | None = None, training: bool | None = None) -> Tensor:
        if isinstance(self.convolution, (ParallelAdapter, SeriesAdapter)):
            x = self.convolution(x, domain=domain, training=training)
        else:
            x = self.convolution(x)
        if self.normalization is None:
            return x
        return _normalize(self.normalization, x, domain, training)


class _Block(keras.layers.Layer):
    """A residual block of two units, with the shortcut that has no parameters."""

    def __init__(self, unit1: _Unit, unit2: _Unit, strides: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.strides = strides
        self.unit1 = unit1
        self.unit2 = unit2

    def build(self, input_shape: Shape) -> None:
        self.unit1.build(input_shape)
        self.unit2.build(self.unit1.compute_output_shape(input_shape))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = self.unit1.compute_output_shape(input_shape)
        return self.unit2.compute_output_shape(shape)

    def call(self, x: Tensor, domain: str | None = None, training: bool | None = None) -> Tensor:
        y = ops.relu(self.unit1(x, domain=domain, training=training))
        y = self.unit2(y, domain=domain, training=training)
        if self.strides > 1:
            x = backend.average_pool(x, 2)
            x = ops.pad(x, [[0, 0]] * 3 + [[0, y.shape[-1] - x.shape[-1]]])
        return ops.relu(y + x)  # rebuffi2018 sec. 3.2


def _normalize(
    normalization: keras.layers.Layer, x: Tensor, domain: str | None, training: bool | None
) -> Tensor:
    if isinstance(normalization, DomainBatchNormalization):
        return normalization(x, domain=domain, training=training)
    return normalization(x, training=training)


def _normalization_of(normalization: keras.layers.Layer, name: str | None) -> BatchNormalization:
    if isinstance(normalization, DomainBatchNormalization):
        return normalization.normalization(name)
    return normalization


def _one_of(argument: str, value: Any, known: Sequence[Any]) -> Any:
    if value not in known:
        raise ValueError(
            f"`{argument}` must be one of {list(known)}. Received: {argument}={value!r}."
        )
    return value


def _check_placement(placement: str | Sequence[str]) -> tuple[str, ...]:
    names = (placement,) if isinstance(placement, str) else tuple(placement)
    for name in names:
        _one_of("placement", name, PLACEMENTS)
    return names


def _check_images(images: Tensor, channels: int, owner: str) -> None:
    shape = tuple(images.shape)
    # Three halvings: at an odd size the strided convolution and its shortcut disagree.
    if len(shape) != 4 or shape[-1] != channels or any((n or 8) % 8 for n in shape[1:3]):
        raise ValueError(
            f"`images` of {owner} must have shape (batch, height, width, {channels}) with height "
            f"and width multiples of 8. Received: shape={shape}. Resize or pad them."
        )
