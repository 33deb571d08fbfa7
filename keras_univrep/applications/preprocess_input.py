"""Images as trained networks want them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_univrep.applications.find_entry import find_entry


def preprocess_input(
    images: Any,
    weights: str | None = None,
    domain: str | None = None,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> np.ndarray:
    """Scales images to [0, 1] and normalises them as a network's domain was in training.

    Args:
        images: Images of shape (..., height, width, channels) in [0, 255], uint8 or float.
        weights: A name of `list_weights()`; with it mean and deviation are those of `domain`.
        domain: A domain of these weights; may be omitted where there is only one.
        mean: Without `weights`: mean of each channel of images in [0, 1]. Dense networks take
            images in [0, 1], which is the default.
        std: Standard deviation of each channel.

    Returns:
        float32 images of the same shape: x / 255, less the mean, divided by the deviation. Their
        size is not changed; networks are best at the `input_size` of the `DomainEntry`.

    Raises:
        ValueError: If the weights or the domain are unknown, the channels do not fit, or floats
            seem to be in [0, 1] already.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.applications import preprocess_input
        >>> images = np.full((1, 32, 32, 3), 255, "uint8")
        >>> float(preprocess_input(images).max())
        1.0
        >>> x = preprocess_input(images, "five_domains", "eurosat")
        >>> x.shape, bool(x.min() > 1.0)
        ((1, 32, 32, 3), True)
    """
    images = np.asarray(images)
    if weights is not None:
        entry = find_entry(weights).domain(domain)
        mean, std = entry.mean, entry.std
    if images.ndim < 3 or len(mean) not in (1, images.shape[-1]):
        raise ValueError(
            f"`images` must have shape (..., height, width, {len(mean)}). Received: "
            f"{images.shape}. Repeat a grey channel three times."
        )
    floats = images.dtype != np.uint8
    if floats and images.size and 0.0 < float(images.max()) <= 1.0:
        raise ValueError(
            "`images` must be in [0, 255]. Received: floats of at most "
            f"{float(images.max()):.3g}, which seem to be scaled already. Multiply them by 255."
        )
    scaled = images.astype("float32") / 255.0
    return (scaled - np.asarray(mean, "float32")) / np.asarray(std, "float32")
