"""Classifies the images of a folder in any of a network's domains."""

import csv
import html
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_univrep.applications import decode_predictions
from keras_univrep.applications._whole_file import whole_file
from keras_univrep.evaluation import write_results
from keras_univrep.programs._networks import load_classifier, normalized, read_images
from keras_univrep.programs._pictures import as_data_url, image_files, read_image
from keras_univrep.programs._smoke import write_examples

COLUMNS = ("file", "domain", "rank", "class", "name", "probability")
STYLE = (
    "body{font:14px sans-serif}div{display:inline-block;width:150px;margin:6px;"
    "vertical-align:top;overflow-wrap:anywhere}img{width:96px;image-rendering:pixelated}"
    "b{display:block}"
)


def classify_folder(
    output_dir: str,
    images: str | None = None,
    weights: str = "five_domains",
    domains: Sequence[str] = (),
    top: int = 3,
    batch_size: int = 64,
    smoke: bool = False,
) -> list[dict[str, Any]]:
    """Writes the likeliest classes of each image as `predictions.csv` and `contact_sheet.html`.

    The sheet shows each image with its classes, in one file that any browser opens.

    Args:
        output_dir: Folder of the results.
        images: Folder of images, folders below included, or one image.
        weights: A name of `list_weights()`.
        domains: Domains in whose classes to answer; all of the weights by default.
        top: Classes of each image and domain.
        batch_size: Images of a forward pass.
        smoke: Whether to try it on images that ship with the package.

    Returns:
        Rows of the table: file, domain, rank from 1, class, its name, its probability in [0, 1].

    Raises:
        FileNotFoundError: If there are no images.
        ValueError: If there is no `images`, weights or a domain are unknown, or a file is no image.
        ImportError: If Pillow is not installed.

    Example:
        `keras-univrep classify_folder --images=photos --output_dir=out --domains=eurosat`
    """
    start = time.time()
    folder = pathlib.Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if smoke:
        images, domains = str(write_examples(folder / "examples")), ["eurosat"]
    files = image_files(images)
    model, entry = load_classifier(weights)
    rows = []
    for name in list(domains) or list(entry.domains):
        domain = entry.domain(name)
        network = model.for_domain(name)
        # By parts, so that a folder of any size fits in memory.
        for first in range(0, len(files), batch_size):
            part = files[first : first + batch_size]
            x = normalized(read_images(part, domain), domain)
            full = np.concatenate([x, np.zeros((batch_size - len(x), *x.shape[1:]), x.dtype)])
            logits = np.asarray(network.predict_on_batch(full))[: len(part)]
            for file, best in zip(part, decode_predictions(logits, entry.name, name, top)):
                rows += [
                    dict(zip(COLUMNS, (str(file), name, rank, *answer), strict=True))
                    for rank, answer in enumerate(best, 1)
                ]
    with whole_file(folder / "predictions.csv") as path, path.open("w", newline="") as target:
        table = csv.DictWriter(target, COLUMNS)
        table.writeheader()
        table.writerows(rows)
    with whole_file(folder / "contact_sheet.html") as path:
        path.write_text(_sheet(rows, entry.name))
    counts = {"images": len(files), "rows": len(rows)}
    write_results(
        folder / "results.json", [{"method": entry.name, **counts}], entry.seed, time.time() - start
    )
    return rows


def _sheet(rows: list[dict[str, Any]], title: str) -> str:
    """The contact sheet: images in their order, each with its answers by domain."""
    cards: dict[str, list[str]] = {}
    for row in rows:
        best = "b" if row["rank"] == 1 else "span"
        words = html.escape(f"{row['domain']}: {row['name']} {100 * row['probability']:.0f} %")
        cards.setdefault(row["file"], []).append(f"<{best}>{words}</{best}><br>")
    body = "".join(
        f'<div><img src="{as_data_url(read_image(pathlib.Path(file), (96, 96)))}" '
        f'alt=""><br>{html.escape(pathlib.Path(file).name)}<br>{"".join(words)}</div>'
        for file, words in cards.items()
    )
    return (
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style>{body}"
    )
