"""Imports Pillow for decoding and resizing."""

import types


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
