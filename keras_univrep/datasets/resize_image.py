"""Resizes an image to a square."""

import numpy as np

from keras_univrep.datasets.pillow_loader import load_pillow


def resize_image(pixels: np.ndarray, size: int, resize: str = "square") -> np.ndarray:
    """Resizes an image to a square by Pillow's bilinear filter.

    Args:
        pixels: uint8 (height, width) or (height, width, 3).
        size: Side of the square, in pixels.
        resize: "square" takes the whole image, "shorter" its central square.

    Returns:
        uint8 (size, size) or (size, size, 3).

    Raises:
        ImportError: If Pillow is not installed.
    """
    pillow = load_pillow("`resize_image`")
    height, width = pixels.shape[:2]
    box = (0, 0, width, height)
    if resize == "shorter":
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
    image = pillow.Image.fromarray(np.ascontiguousarray(pixels))
    # Pillow widens the bilinear filter when it makes an image smaller: no aliasing.
    return np.asarray(image.resize((size, size), pillow.Image.Resampling.BILINEAR, box=box))
