"""Guidance layers: from the features of one student to those of a task of the expanded network."""

from typing import Any

import keras
from keras import ops

from keras_univrep.layers.batch_normalization import BatchNormalization
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class GuidanceLayer(keras.layers.Layer):
    """Maps a student's features into those of one teacher, and normalises them.

    Equation:
        he2022, eq. 4, the guidance layer of task t:

            G^t(x) = Norm(x * w)

        | symbol | here | shape |
        |---|---|---|
        | x | `inputs` | (batch, *spatial, channels) or (batch, channels) |
        | w | `kernel`, a 1x1 convolution | (channels, filters) |
        | Norm | `normalization`, batch normalisation | |

    Differences: Not printed are a bias, which the normalisation would cancel (there is none with
        it), and the kernel's initial values: Xavier's, as of the reconciliation layers.

    Args:
        filters: Channels of the teacher's features.
        normalize: Whether to normalise; `False` leaves a 1x1 convolution with a bias.
        kernel_initializer: Initializer of the kernel.
        **kwargs: `name`, `dtype` and `trainable` of a Keras layer.

    Call arguments:
        inputs: Features of the student, (batch, *spatial, channels) or (batch, channels).
        training: Whether the normalisation uses the statistics of the batch.

    Returns:
        A tensor of the shape of `inputs` with `filters` channels.

    Raises:
        ValueError: If `filters` is not positive.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.layers import GuidanceLayer
        >>> tuple(GuidanceLayer(16)(np.ones((2, 4, 4, 8), "float32")).shape)
        (2, 4, 4, 16)

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
        - Romero et al. FitNets: hints for thin deep nets. ICLR 2015.
    """

    def __init__(
        self,
        filters: int,
        normalize: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(filters, int) or filters < 1:
            raise ValueError(
                "`filters` must be a positive number. Received: "
                f"filters={filters!r}. Pass the channels of the teacher's features."
            )
        self.filters = filters
        self.normalize = normalize
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.normalization = (
            BatchNormalization(name="normalization", dtype=self.dtype_policy) if normalize else None
        )

    def build(self, input_shape: Shape) -> None:
        self.kernel = self.add_weight(
            shape=(input_shape[-1], self.filters),
            initializer=self.kernel_initializer,
            name="kernel",
        )
        self.bias = None
        if self.normalization is None:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        else:
            self.normalization.build(self.compute_output_shape(input_shape))

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        x = ops.matmul(inputs, self.kernel)
        if self.normalization is None:
            return x + self.bias
        return self.normalization(x, training=training)  # he2022 eq. 4

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "normalize": self.normalize,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
