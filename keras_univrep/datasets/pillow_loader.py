"""Imports Pillow for decoding and resizing."""

import types
from typing import Any

import numpy as np


def load_pillow(what: str) -> types.ModuleType:
    """Imports Pillow when images are to be decoded or resized.

    Args:
        what: Name of what needs it, for the error.

    Returns:
        The `PIL` module, with `PIL.Image` loaded.

    Raises:
        ImportError: If Pillow is not installed.
    """
    try:
        import PIL
        import PIL.Image
    except ImportError as error:
        raise ImportError(
            f"{what} decodes and resizes images with Pillow. Received: an installation without "
            "it. Run `pip install keras_univrep[data]`."
        ) from error
    return PIL


def as_rgb(image: Any) -> Any:
    """Converts an image to red, green and blue of 8 bits.

    Pillow cuts grey values of 16 bits off at 255, so that most such images turn white.

    Args:
        image: A `PIL.Image.Image` of any mode.

    Returns:
        A `PIL.Image.Image` of mode "RGB"; 16 bits are scaled to 8.

    Raises:
        ValueError: If a grey value has more than 16 bits or is no integer.
    """
    if not image.mode.startswith(("I", "F")):
        return image.convert("RGB")
    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(
            "grey values must be integers of at most 16 bits. Received: an image of mode "
            f"{image.mode!r} from {values.min()} to {values.max()}. Save it with 8 or 16 bits"
        )
    pillow = load_pillow("Converting images")
    return pillow.Image.fromarray((values / 257.0).round().astype("uint8")).convert("RGB")
