"""The file in which the Visual Decathlon wants its predictions, and its score."""

import json
import os
import pathlib
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_univrep.datasets import DecathlonDomain, visual_decathlon
from keras_univrep.metrics import decathlon_score

_RESULTS = "results.json"

Predictions = tuple[Sequence[str | bytes] | np.ndarray, npt.ArrayLike]


def write_decathlon_submission(
    path: str | pathlib.Path, predictions: Mapping[str, Predictions], partial: bool = False
) -> list[dict[str, int]]:
    """Writes predictions for the test images as the Visual Decathlon wants them.

    The file is a JSON list with one `{"image_id": int, "category_id": int}` for each test image, in
    the official numbers. A path that ends in .zip gets a ZIP file with `results.json`, which is
    what the official server takes. It is written whole or not at all.

    Args:
        path: The .json or .zip file; its folder is made.
        predictions: Dict of domain to (names, labels): the names of its test images, in any order,
            as `decathlon_pipeline(..., with_names=True)` gives them, and the predicted labels, (n,)
            of an integer type in [0, num_classes).
        partial: Whether domains may be missing. The official server wants all ten.

    Returns:
        The list that was written, in the order of the image numbers within each domain.

    Raises:
        ValueError: If a domain, name or label is unknown, or a test image is missing or comes
            twice.
        TypeError: If labels are not integers.

    Example:
        >>> import tempfile
        >>> from keras_univrep.evaluation import write_decathlon_submission
        >>> names = [f"dtd/test/{i:06d}.jpg" for i in range(1, 1881)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     predictions = {"dtd": (names, [7] * 1880)}
        ...     rows = write_decathlon_submission(f"{folder}/dtd.json", predictions, partial=True)
        >>> rows[0], len(rows)
        ({'image_id': 40203761, 'category_id': 40000008}, 1880)
    """
    domains = visual_decathlon()
    unknown = sorted(set(predictions) - set(domains))
    missing = [name for name in domains if name not in predictions]
    if unknown or not predictions or (missing and not partial):
        raise ValueError(
            f"`predictions` must hold the domains {list(domains)}. Received: missing {missing}, "
            f"unknown {unknown}. Predict the missing ones, or pass `partial=True` for a file that "
            "only `score_decathlon_submission` takes."
        )
    rows = []
    for name, domain in domains.items():
        if name in predictions:
            rows += _rows(domain, *predictions[name])
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        if path.suffix == ".zip":
            with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr(_RESULTS, json.dumps(rows))
        else:
            unfinished.write_text(json.dumps(rows), encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return rows


def score_decathlon_submission(
    path: str | pathlib.Path, labels: str | pathlib.Path
) -> dict[str, Any]:
    """Scores a submission against the official test labels.

    Args:
        path: A file of `write_decathlon_submission`, or the folder that holds it as `results.json`.
        labels: Folder or ZIP file with the official annotations, `<domain>_test.json`; only those
            of the domains in the submission are needed. They are published as `labels_test.zip`
            with the code of rebuffi2018.

    Returns:
        `{"accuracies": {domain: top-1 accuracy in per cent}, "score": Decathlon score}`; the score
        (dimensionless) is None unless all ten domains are there.

    Raises:
        FileNotFoundError: If the submission or the annotations of one of its domains are missing.
        ValueError: If the submission holds an unknown image, or one twice, or lacks one of a domain
            that it holds others of.

    Example:
        >>> import json, pathlib, tempfile
        >>> from keras_univrep.evaluation import score_decathlon_submission
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> first = {"image_id": 40203761, "category_id": 40000039}
        >>> second = {"image_id": 40203762, "category_id": 40000001}
        >>> truth = {"annotations": [first, {**second, "category_id": 40000002}]}
        >>> _ = (folder / "dtd_test.json").write_text(json.dumps(truth))
        >>> _ = (folder / "results.json").write_text(json.dumps([first, second]))
        >>> score_decathlon_submission(folder, folder)
        {'accuracies': {'dtd': 50.0}, 'score': None}
    """
    answers = _read_answers(pathlib.Path(path))
    accuracies = {}
    counted = 0
    for name, domain in visual_decathlon().items():
        first = domain.first_test_image
        images = range(first, first + domain.num_test_images)
        given = {image: answers[image] for image in answers.keys() & images}
        if not given:
            continue
        truth = _read_truth(pathlib.Path(labels), name)
        if given.keys() != truth.keys():
            raise ValueError(
                f"The submission must hold each test image of '{name}' in the annotations once. "
                f"Received: {len(truth.keys() - given.keys())} missing, "
                f"{len(given.keys() - truth.keys())} unknown. Predict the whole test split."
            )
        right = sum(given[image] == category for image, category in truth.items())
        accuracies[name] = 100.0 * right / len(truth)
        counted += len(given)
    if counted < len(answers) or not accuracies:
        raise ValueError(
            f"Image numbers of '{path}' must be those of Visual Decathlon test images. Received: "
            f"{len(answers) - counted} others among {len(answers)}. Write the file with "
            "`write_decathlon_submission`."
        )
    complete = len(accuracies) == len(visual_decathlon())
    return {"accuracies": accuracies, "score": decathlon_score(accuracies) if complete else None}


def _rows(
    domain: DecathlonDomain, names: Sequence[str | bytes] | np.ndarray, labels: npt.ArrayLike
) -> list[dict[str, int]]:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "ui":
        raise TypeError(
            f"Labels of '{domain.name}' must be integers. Received: dtype {labels.dtype}. Take "
            "`logits.argmax(-1)`."
        )
    images = [domain.image_id(name) for name in names]
    counts = {len(images), len(set(images)), domain.num_test_images}
    if labels.shape != (len(images),) or len(counts) > 1:
        raise ValueError(
            f"Predictions of '{domain.name}' must hold each of its {domain.num_test_images} test "
            f"images once. Received: {len(images)} names, {len(set(images))} of them different, "
            f'labels {labels.shape}. Predict the split "test" to its end, once.'
        )
    pairs = sorted(zip(images, labels.tolist(), strict=True))
    return [{"image_id": i, "category_id": domain.category_id(label)} for i, label in pairs]


def _read_answers(path: pathlib.Path) -> dict[int, int]:
    if path.is_dir():
        path = path / _RESULTS
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must be a submission. Received: no file '{path}'. Write one with "
            "`write_decathlon_submission`."
        )
    rows = json.loads(_text(path, _RESULTS))
    answers = {row["image_id"]: row["category_id"] for row in rows}
    if len(answers) < len(rows):
        raise ValueError(
            f"'{path}' must hold each image once. Received: {len(rows)} entries for "
            f"{len(answers)} images. Write it with `write_decathlon_submission`."
        )
    return answers


def _read_truth(labels: pathlib.Path, name: str) -> dict[int, int]:
    member = f"{name}_test.json"
    file = labels / member if labels.is_dir() else labels
    if not file.is_file():
        raise FileNotFoundError(
            f"`labels` must be a folder or ZIP file with '{member}'. Received: labels='{labels}', "
            "which has none. Fetch `labels_test.zip`, published with the code of rebuffi2018."
        )
    truth = json.loads(_text(file, member))
    return {entry["image_id"]: entry["category_id"] for entry in truth["annotations"]}


def _text(path: pathlib.Path, member: str) -> bytes:
    """Reads a JSON file, or the member of a ZIP file."""
    if not zipfile.is_zipfile(path):
        return path.read_bytes()
    with zipfile.ZipFile(path) as file:
        if member not in file.namelist():
            raise FileNotFoundError(
                f"'{path}' must hold '{member}'. Received: {file.namelist()}. Add it."
            )
        return file.read(member)
