"""Image files in and out."""

import base64
import io
import pathlib

import numpy as np

from keras_univrep.datasets.pillow_loader import as_rgb, load_pillow

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def image_files(path: str | pathlib.Path | None, argument: str = "images") -> list[pathlib.Path]:
    """The image files of a folder and those below, sorted, or the one file that is given."""
    if not path or path == pathlib.Path():
        raise ValueError(
            f"`{argument}` must be a folder of images, or an image. Received: "
            f"{argument}={path!r}. Pass one; for the working directory its full path."
        )
    path = pathlib.Path(path)
    if path.is_file():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(
            f"There must be images ({', '.join(SUFFIXES)}) at the path. Received: '{path}', where "
            f"there is {'none' if path.is_dir() else 'nothing'}. Check the path."
        )
    return files


def read_image(path: pathlib.Path, size: tuple[int, int], whole: bool = False) -> np.ndarray:
    """An image as uint8 (height, width, 3): its central part of the shape, or all, resized."""
    pillow = load_pillow("Reading images")
    from PIL import ImageOps

    height, width = size
    try:
        with pillow.Image.open(path) as file:
            # Cameras store the rotation beside the pixels.
            image = as_rgb(ImageOps.exif_transpose(file))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"Every file must be a readable image. Received: '{path}' ({error}). Remove it or "
            "write it again."
        ) from error
    if whole:
        return np.asarray(image.resize((width, height), pillow.Image.Resampling.BILINEAR))
    return np.asarray(ImageOps.fit(image, (width, height), pillow.Image.Resampling.BOX))


def write_image(path: pathlib.Path, image: np.ndarray) -> pathlib.Path:
    """Writes uint8 (height, width, 3) as a PNG file."""
    load_pillow("Writing images").Image.fromarray(image).save(path)
    return path


def as_data_url(image: np.ndarray) -> str:
    """An image as it can stand in an HTML file."""
    buffer = io.BytesIO()
    load_pillow("Writing images").Image.fromarray(image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
