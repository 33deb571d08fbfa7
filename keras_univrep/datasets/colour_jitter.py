"""Changes the colours of images, each by its own amount."""

import numpy as np

# Largest changes of saturation and contrast as shares, of hue in turns: Meta-Dataset's training of
# li2022 as released.
SATURATION, CONTRAST, HUE = 0.2, 0.2, 0.03


def colour_jitter(
    images: np.ndarray, saturation: np.ndarray, contrast: np.ndarray, hue: np.ndarray
) -> np.ndarray:
    """Scales saturation, then contrast about each channel's mean, then turns the hue.

    Saturation and hue are those of the hexagonal HSV model; a saturation above 1 becomes 1. Values
    are not clipped.

    Args:
        images: (n, height, width, 3), float32, not negative.
        saturation: Factor of each image, (n,).
        contrast: The same.
        hue: Turns of each image, (n,), 1 for a whole turn.

    Returns:
        Images of the same shape and scale, float32.

    Example:

    >>> import numpy as np
    >>> red = np.array([[[[200.0, 0.0, 0.0]]]], "float32")
    >>> one, third = np.ones(1, "float32"), np.full(1, 1 / 3, "float32")
    >>> colour_jitter(red, one, one, third).round().ravel().tolist()  # green
    [0.0, 200.0, 0.0]
    """
    saturation, contrast, hue = (
        np.asarray(values, "float32")[:, None, None, None] for values in (saturation, contrast, hue)
    )
    top = images.max(axis=-1, keepdims=True)
    chroma = top - images.min(axis=-1, keepdims=True)
    most = np.divide(top, chroma, out=np.full_like(top, np.inf), where=chroma > 0)
    x = top - (top - images) * np.minimum(saturation, most)
    mean = x.mean(axis=(1, 2), keepdims=True)
    return _turn((x - mean) * contrast + mean, hue[..., 0])


def _turn(x: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Turns the hue of images (n, height, width, 3); value and chroma stay."""
    red, green, blue = (x[..., channel] for channel in range(3))
    top = x.max(axis=-1)
    chroma = top - x.min(axis=-1)
    over = np.where(chroma > 0, chroma, np.float32(1.0))
    # In sixths of a turn, from red over green to blue.
    sixths = np.where(
        top == red,
        (green - blue) / over,
        np.where(top == green, (blue - red) / over + 2, (red - green) / over + 4),
    )
    sixths += 6 * turns
    turned = np.empty_like(x)
    for channel, offset in enumerate((5, 3, 1)):
        place = (offset + sixths) % 6
        turned[..., channel] = top - chroma * np.minimum(place, 4 - place).clip(0, 1)
    return turned
