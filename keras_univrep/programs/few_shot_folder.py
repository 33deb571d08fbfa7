"""Makes a classifier of a folder with a few images of each class."""

import csv
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_univrep import few_shot
from keras_univrep.applications._whole_file import whole_file
from keras_univrep.evaluation import write_results
from keras_univrep.programs._networks import load_classifier, normalized, read_images
from keras_univrep.programs._pictures import image_files
from keras_univrep.programs._smoke import write_examples

CLASSIFIERS = {
    "nearest_centroid": few_shot.NearestCentroid,
    "nearest_neighbours": few_shot.NearestNeighbours,
    "simple_cnaps": few_shot.SimpleCNAPS,
    "logistic_regression": few_shot.LogisticRegression,
    "alignment": few_shot.PreClassifierAlignment,
}
COLUMNS = ("file", "class", "probability")


def few_shot_folder(
    output_dir: str,
    examples: str | None = None,
    queries: str | None = None,
    weights: str = "five_domains",
    domain: str | None = None,
    classifier: str = "nearest_centroid",
    seed: int = 0,
    smoke: bool = False,
) -> dict[str, Any]:
    """Learns the classes of a folder of class folders from frozen features.

    What it learns from, the features of the examples, is kept as `classifier.npz`, which a later
    run takes as `examples`. Queries are answered in `predictions.csv`. How well it does is measured
    on a third of the examples of each class that the others are to tell, where each class has at
    least two.

    Args:
        output_dir: Folder of the results.
        examples: A folder with a folder of images for each class, or a `classifier.npz`.
        queries: A folder of images to classify, or one image; none by default.
        weights: A name of `list_weights()`, whose features are used.
        domain: The domain whose features are used; where all share the network, any is the same;
            by default the first.
        classifier: "nearest_centroid", "nearest_neighbours", "simple_cnaps", "logistic_regression"
            (needs scikit-learn) or "alignment".
        seed: Seed of what is held out for the measure.
        smoke: Whether to try it on images that ship with the package.

    Returns:
        `classes`, `accuracy` in per cent on held-out examples (None where there are too few), and
        `predictions`, rows of file, class and probability.

    Raises:
        FileNotFoundError: If there are no images.
        ValueError: If an argument is none of the above, or there are fewer than two classes.

    Example:
        `keras-univrep few_shot_folder --examples=mine --queries=photos --output_dir=out`
    """
    start = time.time()
    if classifier not in CLASSIFIERS:
        raise ValueError(
            f"`classifier` must be one of {list(CLASSIFIERS)}. Received: "
            f"classifier={classifier!r}. Pass one of these."
        )
    folder = pathlib.Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if smoke:
        examples = str(write_examples(folder / "examples"))
        queries = examples
    if examples is None:
        raise ValueError(
            "`examples` must be a folder of class folders, or a classifier.npz. Received: "
            "examples=None. Pass one."
        )
    model, entry = load_classifier(weights)
    known = entry.domain(domain or next(iter(entry.domains)))

    def features(files: Sequence[pathlib.Path]) -> np.ndarray:
        x = normalized(read_images(list(files), known), known)
        parts = [
            keras.ops.convert_to_numpy(model.features(x[i : i + 64], known.name, training=False))
            for i in range(0, len(x), 64)
        ]
        return np.concatenate(parts)

    path = pathlib.Path(examples)
    if path.suffix == ".npz":
        support, labels = _read(path, entry.sha256, known.name)
    else:
        files = image_files(path)
        labels = np.array(
            [file.relative_to(path).parent.as_posix().split("/")[0] for file in files]
        )
        if "." in labels:
            raise ValueError(
                "`examples` must hold at least two class folders, and images in these alone. "
                f"Received: images in '{path}' itself. Put each in the folder of its class."
            )
        support = features(files)
    classes = sorted(set(labels.tolist()))
    if len(classes) < 2:
        raise ValueError(
            f"`examples` must hold at least two class folders. Received: {classes} in '{path}'. "
            "Put the images of each class in a folder of its name."
        )
    accuracy = _accuracy(classifier, support, labels, seed)
    fitted = CLASSIFIERS[classifier]().fit(support, labels)
    with whole_file(folder / "classifier.npz") as part:
        np.savez_compressed(
            part, features=support, labels=labels, sha256=entry.sha256, domain=known.name
        )
    rows = []
    if queries is not None:
        asked = image_files(queries)
        found = features(asked)
        rows = [
            dict(zip(COLUMNS, (str(file), str(label), float(p.max())), strict=True))
            for file, label, p in zip(asked, fitted.predict(found), fitted.predict_proba(found))
        ]
        with whole_file(folder / "predictions.csv") as part, part.open("w", newline="") as target:
            table = csv.DictWriter(target, COLUMNS)
            table.writeheader()
            table.writerows(rows)
    row = {"method": classifier, "classes": len(classes), "accuracy": accuracy}
    write_results(folder / "results.json", [row], seed, time.time() - start, weights=entry.name)
    return {"classes": classes, "accuracy": accuracy, "predictions": rows}


def _accuracy(classifier: str, support: np.ndarray, labels: np.ndarray, seed: int) -> float | None:
    """Per cent of held-out examples, a third of each class, that are told rightly."""
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if len(own) < 2:
            return None
        held[rng.permutation(own)[: max(1, len(own) // 3)]] = True
    fitted = CLASSIFIERS[classifier]().fit(support[~held], labels[~held])
    return round(100.0 * float(np.mean(fitted.predict(support[held]) == labels[held])), 2)


def _read(path: pathlib.Path, sha256: str, domain: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        made = (str(file["sha256"]), str(file["domain"]))
        if made != (sha256, domain):
            raise ValueError(
                f"'{path}' must hold features of the weights {sha256[:12]}, domain {domain!r}. "
                f"Received: {made[0][:12]}, {made[1]!r}. Pass the `weights` and `domain` that it "
                "was made with, or the folder of examples."
            )
        return file["features"], file["labels"]
