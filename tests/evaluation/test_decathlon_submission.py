"""A submission has the official numbers and is scored against the official labels."""

import json
import os
import pathlib
import zipfile
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import visual_decathlon
from keras_univrep.evaluation import score_decathlon_submission, write_decathlon_submission
from keras_univrep.metrics import decathlon_score

DOMAINS = visual_decathlon()
LABELS = (
    pathlib.Path(os.environ.get("KERAS_UNIVREP_DATA", "absent")) / "decathlon_meta/labels_test.zip"
)
RNG = np.random.default_rng(0)


def names(domain: str) -> list[str]:
    return [f"{domain}/test/{i:06d}.jpg" for i in range(1, DOMAINS[domain].num_test_images + 1)]


def guesses(domain: str) -> np.ndarray:
    return RNG.integers(0, DOMAINS[domain].num_classes, DOMAINS[domain].num_test_images)


def write_labels(folder: pathlib.Path, labels: dict[str, np.ndarray]) -> pathlib.Path:
    """Writes annotations as the official ones are."""
    folder.mkdir(exist_ok=True)
    for name, truth in labels.items():
        domain = DOMAINS[name]
        entries = [
            {
                "id": domain.first_test_image + i,
                "image_id": domain.first_test_image + i,
                "category_id": domain.first_category + int(label),
                "bbox": [],
            }
            for i, label in enumerate(truth)
        ]
        (folder / f"{name}_test.json").write_text(json.dumps({"annotations": entries}))
    return folder


def test_rows_are_in_order_of_the_images_with_official_numbers(tmp_path: pathlib.Path) -> None:
    labels = guesses("dtd")
    order = RNG.permutation(len(labels))
    shuffled = np.array(names("dtd"), "S")[order]  # As pipelines give them: bytes, in any order.
    path = tmp_path / "new" / "results.json"
    rows = write_decathlon_submission(path, {"dtd": (shuffled, labels[order])}, partial=True)
    assert json.loads(path.read_text()) == rows
    assert rows == [
        {"image_id": 40203761 + i, "category_id": 40000001 + int(label)}
        for i, label in enumerate(labels)
    ]
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


def test_a_zip_file_holds_the_same(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "submission.zip"
    rows = write_decathlon_submission(path, {"dtd": (names("dtd"), guesses("dtd"))}, partial=True)
    with zipfile.ZipFile(path) as file:
        assert file.namelist() == ["results.json"]
        assert json.loads(file.read("results.json")) == rows


def test_accuracy_counts_right_images(tmp_path: pathlib.Path) -> None:
    truth = {name: guesses(name) for name in ("dtd", "ucf101")}
    labels = write_labels(tmp_path / "labels", truth)
    wrong = {"dtd": 94, "ucf101": 1000}
    predictions: dict[str, Any] = {}
    for name, right in truth.items():
        answer = right.copy()
        answer[: wrong[name]] = (answer[: wrong[name]] + 1) % DOMAINS[name].num_classes
        predictions[name] = (names(name), answer)
    write_decathlon_submission(tmp_path / "results.json", predictions, partial=True)
    write_decathlon_submission(tmp_path / "results.zip", predictions, partial=True)
    expected = {"dtd": 100 * (1 - 94 / 1880), "ucf101": 100 * (1 - 1000 / 3783)}
    for path in (tmp_path, tmp_path / "results.json", tmp_path / "results.zip"):
        found = score_decathlon_submission(path, labels)
        assert found["accuracies"] == pytest.approx(expected) and found["score"] is None


def test_all_ten_domains_have_a_score(tmp_path: pathlib.Path) -> None:
    truth = {name: guesses(name) for name in DOMAINS}
    labels = write_labels(tmp_path / "labels", truth)
    rows = write_decathlon_submission(
        tmp_path / "results.json", {name: (names(name), y) for name, y in truth.items()}
    )
    assert len(rows) == sum(len(y) for y in truth.values())
    found = score_decathlon_submission(tmp_path, labels)
    assert found == {"accuracies": dict.fromkeys(DOMAINS, 100.0), "score": 10000.0}
    # A fifth of dtd wrong, the rest right.
    for row in rows:
        if row["image_id"] in range(40203761, 40203761 + 376):
            row["category_id"] = 40000001 + (row["category_id"] - 40000000) % 47
    (tmp_path / "results.json").write_text(json.dumps(rows))
    found = score_decathlon_submission(tmp_path, labels)
    accuracies = {**dict.fromkeys(DOMAINS, 100.0), "dtd": 80.0}
    assert found["accuracies"] == pytest.approx(accuracies)
    assert found["score"] == pytest.approx(decathlon_score(accuracies))


def test_predictions_that_lack_a_domain_are_refused(tmp_path: pathlib.Path) -> None:
    predictions = {"dtd": (names("dtd"), guesses("dtd"))}
    with pytest.raises(ValueError, match=r"missing \['imagenet12'.*`partial=True`"):
        write_decathlon_submission(tmp_path / "results.json", predictions)
    with pytest.raises(ValueError, match=r"unknown \['cars'\]"):
        write_decathlon_submission(
            tmp_path / "results.json", {**predictions, "cars": ([], [])}, partial=True
        )
    with pytest.raises(ValueError, match="must hold the domains"):
        write_decathlon_submission(tmp_path / "results.json", {}, partial=True)


@pytest.mark.parametrize("fault", ["missing", "twice", "foreign", "length", "range"])
def test_predictions_that_do_not_fit_leave_the_old_file(tmp_path: pathlib.Path, fault: str) -> None:
    path = tmp_path / "results.json"
    path.write_text("old")
    images, labels = names("dtd"), guesses("dtd")
    if fault == "missing":
        images, labels = images[1:], labels[1:]
    elif fault == "twice":
        images[3] = images[4]
    elif fault == "foreign":
        images[3] = "svhn/test/000001.jpg"
    elif fault == "length":
        labels = labels[1:]
    else:
        labels[5] = 47
    with pytest.raises(ValueError, match="each of its 1880|must be a test image|must be in"):
        write_decathlon_submission(path, {"dtd": (images, labels)}, partial=True)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_logits_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TypeError, match="must be integers"):
        write_decathlon_submission(
            tmp_path / "results.json", {"dtd": (names("dtd"), np.zeros((1880, 47)))}, partial=True
        )


def test_incomplete_or_foreign_submissions_are_refused(tmp_path: pathlib.Path) -> None:
    truth = guesses("dtd")
    labels = write_labels(tmp_path / "labels", {"dtd": truth})
    path = tmp_path / "results.json"
    rows = write_decathlon_submission(path, {"dtd": (names("dtd"), truth)}, partial=True)
    for changed, message in (
        (rows[1:], "1 missing, 0 unknown"),
        (rows + rows[:1], "each image once"),
        ([*rows, {"image_id": 1, "category_id": 1}], "1 others among 1881"),
        ([], "must be those of Visual Decathlon"),
    ):
        path.write_text(json.dumps(changed))
        with pytest.raises(ValueError, match=message):
            score_decathlon_submission(path, labels)


def test_missing_files_are_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match="`path` must be a submission"):
        score_decathlon_submission(tmp_path, tmp_path)
    predictions = {"dtd": (names("dtd"), guesses("dtd"))}
    write_decathlon_submission(tmp_path / "results.json", predictions, partial=True)
    with pytest.raises(FileNotFoundError, match="'dtd_test.json'"):
        score_decathlon_submission(tmp_path, tmp_path)
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as file:
        file.writestr("other.json", "{}")
    with pytest.raises(FileNotFoundError, match="'dtd_test.json'"):
        score_decathlon_submission(tmp_path, tmp_path / "labels.zip")


@pytest.mark.skipif(not LABELS.is_file(), reason="KERAS_UNIVREP_DATA has no official test labels")
def test_the_official_labels_as_predictions_are_all_right(tmp_path: pathlib.Path) -> None:
    predictions = {}
    with zipfile.ZipFile(LABELS) as file:
        for name in DOMAINS:
            official = json.loads(file.read(f"{name}_test.json"))
            files = {image["id"]: image["file_name"] for image in official["images"]}
            index = {category["id"]: i for i, category in enumerate(official["categories"])}
            predictions[name] = (
                [files[entry["image_id"]] for entry in official["annotations"]],
                [index[entry["category_id"]] for entry in official["annotations"]],
            )
    write_decathlon_submission(tmp_path / "results.zip", predictions)
    found = score_decathlon_submission(tmp_path / "results.zip", LABELS)
    assert found == {"accuracies": dict.fromkeys(DOMAINS, 100.0), "score": 10000.0}
