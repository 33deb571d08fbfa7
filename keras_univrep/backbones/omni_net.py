"""Any Keras network with three flows through it: joint, pre-training and meta-training."""

import re
from typing import Any

import keras
from keras import ops

from keras_univrep.backbones._omni_choice import Choice, choose_omni_layers
from keras_univrep.backbones._rerouted import Call, rerouted
from keras_univrep.backbones.adaptable_layers import NORMALIZING, leaves
from keras_univrep.layers import DomainCopy, OmniLayer
from keras_univrep.layers.flows import PARALLEL, check_flow
from keras_univrep.types import Tensor

POOLINGS = ("avg", None)
# What each flow has a copy of, beside normalisations: an activation with weights.
COPIED = (*NORMALIZING, keras.layers.PReLU)


@keras.saving.register_keras_serializable(package="keras_univrep")
class OmniNet(keras.Model):
    """A trunk, functional or subclassed, as an Omni-Net of three flows.

    Each chosen layer becomes an `OmniLayer`, and each normalisation from the first of them on has a
    copy for each parallel flow. The trunk is not changed: the joint flow is the trunk itself, and
    while a parallel flow runs, the chosen layers compute through its branches.

    Equation:
        shu2021, equations 4 to 6, for the layers 1 to L of the trunk:

            F_joint = f_joint^L o ... o f_joint^1
            F_pre   = (f_pre^L + f_joint^L) o ... o (f_pre^1 + f_joint^1)
            F_meta  = (f_meta^L + f_joint^L) o ... o (f_meta^1 + f_joint^1)

        | symbol | here | shape |
        |---|---|---|
        | f_joint^l | layer l of `trunk` | |
        | f_pre^l, f_meta^l | `banks[name of l].branch(flow)` | as for `OmniLayer` |
        | F_flow | the call with this flow | (batch, channels) |

    Differences: Branches start at zero, which the paper does not print; the flows are one at first.
        Branches on every convolution, the stem and the 1x1 convolutions of shortcuts included, and
        two more copies of all batch normalisations give the printed 13.98 million weights of
        ResNet-18; without the shortcuts they would be 13.62 million.

    Args:
        trunk: A built Keras model that returns features (batch, channels), or maps (batch, height,
            width, channels). Of several outputs choose one: `keras.Model(trunk.input, output)`.
        layers: Which layers get branches, by the names of `adaptable_layers`: `"all"`, regular
            expressions, or a function of name and layer.
        start: A regular expression: the first layer whose name matches is the first with branches,
            and all before it are shared whole, with their normalisations; `None` for the first.
        branch_initializer: Initializer of the branches.
        branch_regularizer: Regularizer of the branches.
        pooling: `"avg"` for the mean of maps over positions, or `None` for the maps.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: What the trunk takes.
        flow: `"joint"`, `"pre"` or `"meta"`.
        training: Whether normalisations use the statistics of the batch.

    Returns:
        Features of shape (batch, channels), or maps.

    Raises:
        ValueError: If the trunk is not built, no layer is chosen, or the flow is unknown.
        TypeError: If an expression of `layers` matches only layers that can have no branch.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import OmniNet, ResNet18
        >>> network = OmniNet(ResNet18(width=0.125), start="stage3_block1/.*")
        >>> tuple(network(np.ones((2, 32, 32, 3), "float32"), flow="meta").shape)
        (2, 64)

    References:
        Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021.
    """

    # Keras's, on TensorFlow, traces the call on inputs of its own making.
    _default_save_signature = None

    def __init__(
        self,
        trunk: keras.Model,
        layers: Choice = "all",
        start: str | None = None,
        branch_initializer: Any = "zeros",
        branch_regularizer: Any = None,
        pooling: str | None = "avg",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not trunk.built:
            raise ValueError(
                "`trunk` must be built, so that there are layers with weights. Received: "
                f"{trunk!r}. Call it once on an image, or give it an input shape."
            )
        if pooling not in POOLINGS:
            raise ValueError(
                f"`pooling` must be one of {list(POOLINGS)}. Received: pooling={pooling!r}."
            )
        self.pooling = pooling
        self.branch_initializer = keras.initializers.get(branch_initializer)
        self.branch_regularizer = keras.regularizers.get(branch_regularizer)
        chosen = choose_omni_layers(trunk, layers, start)
        self.branched = tuple(chosen)
        every = list(leaves(trunk))
        first = next(place for place, (name, _) in enumerate(every) if name in chosen)
        self.banks: dict[str, OmniLayer | DomainCopy] = {}
        for name, layer in every[first:]:
            below = {"name": name.replace("/", "__"), "dtype": layer.dtype_policy}
            if name in chosen:
                self.banks[name] = OmniLayer(
                    layer,
                    branch_initializer=self.branch_initializer,
                    branch_regularizer=self.branch_regularizer,
                    **below,
                )
            elif isinstance(layer, COPIED):
                self.banks[name] = DomainCopy(layer, PARALLEL, **below)
            else:
                continue
            with keras.name_scope(self.name, caller=self):
                self.banks[name].build(layer.get_build_config()["input_shape"])
        self.filters = _channels_of(trunk)
        self.trunk = trunk
        self.build(None)

    def build(self, input_shape: Any) -> None:
        self.built: bool = True

    def call(self, images: Tensor, flow: str = "joint", training: bool | None = None) -> Tensor:
        check_flow(flow, self.name)
        if flow == "joint":
            features = self.trunk(images, training=training)  # shu2021 eq. 4
        else:
            banks = self.banks.values()
            with rerouted([(b.layer, _call_of(b, flow, training)) for b in banks]):
                features = self.trunk(images, training=training)  # eq. 5, 6
        axes = tuple(range(1, len(features.shape) - 1))
        if axes and self.pooling == "avg":
            # A mean of low precision would lose what the maps have.
            features = ops.mean(ops.cast(features, "float32"), axis=axes)
        return ops.cast(features, self.compute_dtype)

    def flow_variables(self, flow: str) -> list[keras.Variable]:
        """Returns the trainable variables that a flow computes with, the shared ones included.

        Args:
            flow: `"joint"`, `"pre"` or `"meta"`.
        """
        check_flow(flow, self.name)
        shared = self.trunk.trainable_variables
        if flow == "joint":
            return shared
        own: list[keras.Variable] = []
        replaced: set[int] = set()
        for bank in self.banks.values():
            if isinstance(bank, OmniLayer):
                own += bank.branch(flow).trainable_variables
            else:
                replaced |= {id(variable) for variable in bank.layer.variables}
                own += bank.part(flow).trainable_variables
        return [variable for variable in shared if id(variable) not in replaced] + own

    def compute_output_spec(
        self, images: Tensor, flow: str = "joint", training: bool | None = None
    ) -> keras.KerasTensor:
        """Returns the shape and dtype of the features, without running the trunk."""
        check_flow(flow, self.name)
        inner = self.trunk.compute_output_spec(images)
        shape = tuple(inner.shape)
        if self.pooling == "avg":
            shape = (shape[0], shape[-1])
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "trunk": keras.saving.serialize_keras_object(self.trunk),
            "names": [name for name, _ in leaves(self.trunk)],
            # What was chosen, and not how: a function cannot be saved.
            "layers": list(self.branched),
            "branch_initializer": keras.initializers.serialize(self.branch_initializer),
            "branch_regularizer": keras.regularizers.serialize(self.branch_regularizer),
            "pooling": self.pooling,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "OmniNet":
        config = dict(config)
        trunk = keras.saving.deserialize_keras_object(config.pop("trunk"))
        # Names that Keras chose are others in another process; the order of the layers is not.
        names = dict(zip(config.pop("names"), (name for name, _ in leaves(trunk)), strict=True))
        layers = [re.escape(names[name]) for name in config.pop("layers")]
        return cls(trunk, layers, **config)


def _channels_of(trunk: keras.Model) -> int:
    size, shape = getattr(trunk, "filters", None), getattr(trunk, "output_shape", None)
    if size is None and isinstance(shape, tuple):
        size = shape[-1]
    if not isinstance(size, int) or len(getattr(trunk, "outputs", None) or [trunk]) > 1:
        raise ValueError(
            "`trunk` must return one tensor and say how many channels it has, by the output shape "
            f"or by the attribute `filters`. Received: {trunk!r} with output_shape={shape}. Set "
            "`trunk.filters`, or choose one output: `keras.Model(trunk.input, trunk.outputs[-1])`."
        )
    return size


def _call_of(bank: OmniLayer | DomainCopy, flow: str, training: bool | None) -> Call:
    """What the layer of a bank computes in a parallel flow."""
    if isinstance(bank, OmniLayer):
        return lambda inputs, **_: bank(inputs, flow=flow, training=training)
    return lambda inputs, **_: bank(inputs, domain=flow, training=training)
