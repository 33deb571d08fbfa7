"""Decodes and resizes the images of a source."""

import io
import pathlib
import struct
import zlib
from typing import Any

import numpy as np

from keras_univrep.datasets.pillow_loader import load_pillow

RESIZES = ("square", "pad")
_DAMAGE = (OSError, EOFError, SyntaxError, ValueError, struct.error, zlib.error)


def decode_image(content: bytes | pathlib.Path, where: str, labels: bool = False) -> np.ndarray:
    """Decodes an image file.

    Args:
        content: The file's bytes, or its path.
        where: Words that name the source and the file in an error.
        labels: Whether it is a label map, whose numbers are kept: one channel, no palette applied.

    Returns:
        uint8 (height, width, 3), or integers (height, width) for labels.

    Raises:
        ValueError: If the file is missing, damaged, or a label map with several channels.
        ImportError: If Pillow is not installed.
    """
    pillow = load_pillow("A source of image files")
    try:
        with pillow.Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as i:
            # A palette is for the eye: the numbers behind it are the labels.
            pixels = np.asarray(i if labels else i.convert("RGB"))
    except _DAMAGE as error:
        raise ValueError(
            f"{where} must be a whole image file. Received: {error}. Fetch it again, or remove it "
            "from the annotation."
        ) from error
    if labels and (pixels.ndim != 2 or pixels.dtype.kind not in "iub"):
        raise ValueError(
            f"{where} must be a label map of one channel of whole numbers. Received: "
            f"{pixels.dtype} of shape {pixels.shape}. Write the classes of pixels as a grey image."
        )
    return pixels.astype("int32") if labels else pixels


def check_pixels(pixels: np.ndarray, where: str) -> None:
    """Raises unless an array is a colour or grey image of at least one pixel."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] not in (1, 3):
        raise ValueError(
            f"{where} must be uint8 (height, width, channels) with 1 or 3 channels. Received: "
            f"{pixels.dtype} of shape {pixels.shape}. Convert it; drop a channel for transparency."
        )
    if not pixels.size:
        raise ValueError(
            f"{where} must have sides of at least one pixel. Received: shape {pixels.shape}. "
            "Remove the image."
        )


def fit_image(
    pixels: np.ndarray, image_size: tuple[int, int], resize: str
) -> tuple[np.ndarray, tuple[float, float]]:
    """Resizes an image by Pillow's bilinear filter, which widens for a reduction.

    Args:
        pixels: uint8 (height, width, channels).
        image_size: (height, width) to make, in pixels.
        resize: "square" takes each side to its size, "pad" keeps the proportions and fills the
            right or the bottom with black.

    Returns:
        uint8 (*image_size, channels), and the factors of x and y: those of boxes.

    Raises:
        ImportError: If Pillow is not installed.
    """
    height, width = pixels.shape[:2]
    sides = image_size
    if resize == "pad":
        factor = min(image_size[0] / height, image_size[1] / width)
        sides = (
            min(image_size[0], max(1, round(height * factor))),
            min(image_size[1], max(1, round(width * factor))),
        )
    if sides != (height, width):
        pillow = load_pillow("`fit_image`")
        image = pillow.Image.fromarray(
            np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        )
        resized = np.asarray(image.resize(sides[::-1], pillow.Image.Resampling.BILINEAR))
        pixels = resized.reshape(*sides, pixels.shape[-1])
    black = [(0, to - side) for to, side in zip(image_size, sides, strict=True)]
    return np.pad(pixels, [*black, (0, 0)]), (sides[1] / width, sides[0] / height)


def check_image_size(image_size: int | tuple[int, int], resize: str) -> tuple[int, int]:
    """Checks arguments of readers: (height, width)."""
    given: Any = image_size
    sides = (given, given) if np.ndim(given) == 0 else tuple(given)
    if len(sides) != 2 or not all(isinstance(s, (int, np.integer)) and s >= 8 for s in sides):
        raise ValueError(
            "`image_size` must be a side, or (height, width), integers of at least 8. Received: "
            f"image_size={image_size!r}. Pass, for example, 64."
        )
    if resize not in RESIZES:
        raise ValueError(
            f"`resize` must be one of {list(RESIZES)}. Received: resize={resize!r}. Pass one of "
            "these."
        )
    return int(sides[0]), int(sides[1])
