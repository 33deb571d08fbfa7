"""ResNet-10, on which few-shot learning across domains is compared."""

from typing import Any

from keras_univrep.backbones.stem_pooled_resnet import StemPooledResNet


def ResNet10(width: float = 1.0, **kwargs: Any) -> StemPooledResNet:
    """Makes the residual network of one basic block a stage, with a 7x7 stem and max-pooling.

    Args:
        width: Factor of all channel numbers.
        **kwargs: Other arguments of `StemPooledResNet`.

    Returns:
        A built `StemPooledResNet` of images; 4,905,792 weights that train at width 1.

    Raises:
        ValueError: As for `StemPooledResNet`.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import ResNet10
        >>> tuple(ResNet10(width=0.125)(np.ones((2, 32, 32, 3), "float32")).shape)
        (2, 64)
    """
    return StemPooledResNet((1, 1, 1, 1), width, **kwargs)
