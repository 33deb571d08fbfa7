"""Builds the small image sets that ship inside `keras_univrep/datasets/embedded`.

No paper: this makes the data of the "five domains" benchmark, once. It trains nothing.

    python recipes/build_embedded.py --source_dir=DOWNLOADS \\
        --output_dir=keras_univrep/datasets/embedded

`--source_dir` must hold five folders, each an excerpt of an openly licensed set (`LICENSES.md`
names the origins):

| folder | file | content |
|---|---|---|
| eurosat | eurosat64_125.zip | CLASS/CLASS_NUMBER.jpg, 64x64 RGB, 125 a class |
| emnist_letters | emnist_letters.npz | x_train, y_train, x_test, y_test (28x28 grey), class_names |
| omniglot28 | omniglot28.npz | packed (1623, 20, 98): 28x28 bits; alphabet, character |
| quickdraw8 | quickdraw.npz | x (8, 1000, 28, 28) grey, class_names |
| signdigits | signdigits64_100.zip | DIGIT/IMG_NUMBER.jpg, 64x64 RGB, 100 a class |

Colour images are averaged over 2x2 blocks to 32x32. Grey images stay 28x28 on disk (a bit a pixel
for omniglot); the loader pads them by 2. In all three grey sets the stroke is bright on black, as
their sources have it: nothing is inverted.

Splits (seed 0): eurosat and quickdraw are stratified by class; letters keeps the official test set
and takes a stratified validation set out of the official training set; omniglot goes by drawer (12
/ 4 / 4 of the 20, the same for every character); signdigits goes by runs of consecutive photographs
(see `by_run`). An image whose exact copy is in a later split (train < validation < test) is
dropped.

Expected: about 12 MB in five .npz files and `manifest.json`, the same bytes on each run. Ten
seconds on one core.
"""

import hashlib
import io
import json
import pathlib
import re
import zipfile
from collections.abc import Sequence

import numpy as np
from absl import app, flags
from PIL import Image

_SOURCE_DIR = flags.DEFINE_string(
    "source_dir", None, "Folder with the five source sets.", required=True
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "keras_univrep/datasets/embedded", "Folder for the .npz files and manifest.json."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the splits.")

SPLITS = ("train", "validation", "test")

Arrays = dict[str, tuple[np.ndarray, np.ndarray]]

FACTS = {
    "eurosat": {
        "title": "EuroSAT: land use in Sentinel-2 satellite images",
        "licence": "MIT; contains modified Copernicus Sentinel data",
        "source": "https://github.com/phelber/EuroSAT",
        "citation": "P. Helber, B. Bischke, A. Dengel, D. Borth. EuroSAT: A Novel Dataset and Deep "
        "Learning "
        "Benchmark for Land Use and Land Cover Classification. IEEE JSTARS, 2019.",
        "flip": True,
        "split_rule": "stratified by class, 80 / 15 / 30 a class, seed 0",
    },
    "letters": {
        "title": "EMNIST letters: handwritten letters, both cases in one class",
        "licence": "public domain (United States Government work, NIST Special Database 19)",
        "source": "https://www.nist.gov/itl/products-and-services/emnist-dataset",
        "citation": "G. Cohen, S. Afshar, J. Tapson, A. van Schaik. EMNIST: Extending MNIST to "
        "handwritten "
        "letters. IJCNN, 2017.",
        "flip": False,
        "split_rule": "official test set (60 a class); official training set 260 / 40 a "
        "class, stratified, seed 0",
    },
    "omniglot": {
        "title": "Omniglot: 1623 handwritten characters of 50 alphabets",
        "licence": "MIT",
        "source": "https://github.com/brendenlake/omniglot",
        "citation": "B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum. Human-level concept learning "
        "through "
        "probabilistic program induction. Science 350(6266), 2015.",
        "flip": False,
        "split_rule": "by drawer, 12 / 4 / 4 of the 20, the same for every character, seed 0; "
        "exact copies across splits dropped",
    },
    "quickdraw": {
        "title": "Quick, Draw!: line drawings of eight kinds of object",
        "licence": "CC BY 4.0",
        "source": "https://github.com/googlecreativelab/quickdraw-dataset",
        "citation": "D. Ha, D. Eck. A Neural Representation of Sketch Drawings. ICLR, 2018.",
        "flip": True,
        "split_rule": "stratified by class, 700 / 100 / 200 a class, seed 0",
    },
    "signdigits": {
        "title": "Sign Language Digits: photographs of hands",
        "licence": "Apache-2.0",
        "source": "https://github.com/ardamavi/Sign-Language-Digits-Dataset",
        "citation": "A. Mavi. A New Dataset and Proposed Convolutional Neural Network Architecture "
        "for "
        "Classification of American Sign Language Digits. arXiv:2011.08927, 2020.",
        "flip": True,
        "split_rule": "by runs of consecutive photographs, most of them of one person, about "
        "65 / 10 / 25 per cent, seed 0",
    },
}


def stratified(labels: np.ndarray, sizes: Sequence[int], seed: int) -> list[np.ndarray]:
    """Draws `sizes[i]` indices of every class for split i: sorted int index arrays."""
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in sizes]
    for label in np.unique(labels):
        order = rng.permutation(np.flatnonzero(labels == label))
        for part, chunk in zip(parts, np.split(order, np.cumsum(sizes))[: len(sizes)], strict=True):
            part.append(chunk)
    return [np.sort(np.concatenate(part)) for part in parts]


def by_run(numbers: np.ndarray, digits: np.ndarray, seed: int) -> list[np.ndarray]:
    """Splits photographs by run, about 65 / 10 / 25 per cent.

    A run ends where the digit does not rise. Most persons signed 0 to 9 in order and make one run;
    those photographed in another order make several, which may be in different splits.
    """
    order = np.argsort(numbers)
    run_of = np.concatenate([[0], np.cumsum(np.diff(digits[order]) <= 0)])
    runs = np.random.default_rng(seed).permutation(run_of[-1] + 1)
    sizes = np.bincount(run_of)[runs]
    ends = np.searchsorted(np.cumsum(sizes) / len(numbers), [0.25, 0.35]) + 1
    test, validation, train = np.split(runs, ends)
    return [np.sort(order[np.isin(run_of, group)]) for group in (train, validation, test)]


def read_zip(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Reads CLASS/..._NUMBER.jpg files.

    Returns images (n, 32, 32, 3) uint8, labels (n,), numbers (n,) and class names.
    """
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        images = np.stack(
            [np.asarray(Image.open(io.BytesIO(archive.read(name)))) for name in names]
        )
    n, height, width, channels = images.shape
    blocks = images.reshape(n, height // 2, 2, width // 2, 2, channels)
    images = np.rint(blocks.mean(axis=(2, 4))).astype("uint8")
    classes, labels = np.unique([name.split("/")[0] for name in names], return_inverse=True)
    numbers = np.array([int(re.search(r"_(\d+)\.jpg$", name)[1]) for name in names])
    return images, labels, numbers, classes.tolist()


def read_source(name: str, source: pathlib.Path, seed: int) -> tuple[Arrays, list[str]]:
    """Reads one set and splits it. Returns split -> (images, labels), and the class names."""
    if name in ("eurosat", "signdigits"):
        file = {"eurosat": "eurosat64_125.zip", "signdigits": "signdigits64_100.zip"}[name]
        images, labels, numbers, classes = read_zip(source / name / file)
        if name == "eurosat":
            parts = stratified(labels, (80, 15, 30), seed)
        else:
            parts = by_run(numbers, labels, seed)
    elif name == "letters":
        data = np.load(source / "emnist_letters" / "emnist_letters.npz")
        images = np.concatenate([data["x_train"], data["x_test"]])
        labels = np.concatenate([data["y_train"], data["y_test"]])
        parts = stratified(data["y_train"], (260, 40), seed)
        parts.append(np.arange(len(data["x_train"]), len(images)))
        classes = data["class_names"].tolist()
    elif name == "omniglot":
        data = np.load(source / "omniglot28" / "omniglot28.npz")
        packed = data["packed"]
        images = np.unpackbits(packed, axis=-1).reshape(-1, 28, 28) * np.uint8(255)
        labels = np.repeat(np.arange(len(packed)), packed.shape[1])
        drawer = np.tile(np.arange(packed.shape[1]), len(packed))
        drawers = np.split(np.random.default_rng(seed).permutation(packed.shape[1]), [12, 16])
        parts = [np.flatnonzero(np.isin(drawer, group)) for group in drawers]
        classes = [f"{a}/{c}" for a, c in zip(data["alphabet"], data["character"], strict=True)]
    else:
        data = np.load(source / "quickdraw8" / "quickdraw.npz")
        images = data["x"].reshape(-1, 28, 28)
        labels = np.repeat(np.arange(8), data["x"].shape[1])
        parts = stratified(labels, (700, 100, 200), seed)
        classes = data["class_names"].tolist()
    arrays = {s: (images[p], labels[p].astype("int16")) for s, p in zip(SPLITS, parts, strict=True)}
    return drop_copies(arrays), classes


def drop_copies(arrays: Arrays) -> Arrays:
    """Drops the images whose exact copy is in a later split."""
    seen: set[bytes] = set()
    kept: Arrays = {}
    for split in reversed(SPLITS):
        images, labels = arrays[split]
        keys = [image.tobytes() for image in images]
        keep = np.array([key not in seen for key in keys])
        seen.update(keys)
        kept[split] = (images[keep], labels[keep])
    return {split: kept[split] for split in SPLITS}


def statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and deviation per channel of images in [0, 1] as the loader gives them: 32x32, RGB."""
    if images.ndim == 3:
        images = np.pad(images, [(0, 0), (2, 2), (2, 2)])[..., None].repeat(3, axis=-1)
    histogram = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(3)]
    values = np.arange(256) / 255.0
    means = [float((h * values).sum() / h.sum()) for h in histogram]
    stds = [
        float(np.sqrt((h * (values - m) ** 2).sum() / h.sum()))
        for h, m in zip(histogram, means, strict=True)
    ]
    return [round(m, 6) for m in means], [round(s, 6) for s in stds]


def build(name: str, source: pathlib.Path, output: pathlib.Path, seed: int) -> dict:
    """Writes `name`.npz and returns its manifest entry."""
    arrays, classes = read_source(name, source, seed)
    mean, std = statistics(arrays["train"][0])
    storage = "rgb" if arrays["train"][0].ndim == 4 else "bits" if name == "omniglot" else "grey"
    content = {"class_names": np.array(classes)}
    for split, (images, labels) in arrays.items():
        if storage == "bits":
            images = np.packbits(images.reshape(len(images), -1) > 0, axis=-1)
        content[f"x_{split}"], content[f"y_{split}"] = images, labels
    path = output / f"{name}.npz"
    np.savez_compressed(path, **content)
    return FACTS[name] | {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "storage": storage,
        "stored_size": 32 if storage == "rgb" else 28,
        "image_shape": [32, 32, 3],
        "num_classes": len(classes),
        "splits": {split: len(labels) for split, (_, labels) in arrays.items()},
        "mean": mean,
        "std": std,
    }


def main(argv: Sequence[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError("This program takes flags only.")
    output = pathlib.Path(_OUTPUT_DIR.value)
    output.mkdir(parents=True, exist_ok=True)
    source = pathlib.Path(_SOURCE_DIR.value)
    manifest = {name: build(name, source, output, _SEED.value) for name in FACTS}
    (output / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    for name, entry in manifest.items():
        print(f"{name:12s} {entry['bytes']:9d} bytes  {entry['splits']}  mean {entry['mean']}")


if __name__ == "__main__":
    app.run(main)
