import csv

import numpy as np
import pytest

from keras_univrep import datasets
from keras_univrep.programs import few_shot_folder
from keras_univrep.programs._pictures import write_image


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Six examples of each of three classes, and as many others of a class each."""
    place = tmp_path_factory.mktemp("few")
    domain = datasets.load_domain("quickdraw")
    images, labels = domain.arrays("test")
    for label in range(3):
        name = domain.class_names[label]
        for number, index in enumerate(np.flatnonzero(labels == label)[:10]):
            part = place / ("examples" if number < 6 else "queries") / name
            part.mkdir(parents=True, exist_ok=True)
            write_image(part / f"{number}.png", images[index])
    return place / "examples", place / "queries"


def test_queries_are_told_apart_and_the_classifier_is_kept(folders, tmp_path):
    examples, queries = map(str, folders)
    found = few_shot_folder(str(tmp_path), examples, queries, domain="quickdraw")
    assert found["accuracy"] >= 60.0 and len(found["classes"]) == 3
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12
    assert np.mean([row["file"].split("/")[-2] == row["class"] for row in rows]) >= 0.75
    again = few_shot_folder(
        str(tmp_path / "again"), str(tmp_path / "classifier.npz"), queries, domain="quickdraw"
    )
    assert again == found


def test_a_kept_classifier_of_another_domain_is_refused(folders, tmp_path):
    few_shot_folder(str(tmp_path), str(folders[0]), domain="quickdraw")
    with pytest.raises(ValueError, match="was made with"):
        few_shot_folder(str(tmp_path), str(tmp_path / "classifier.npz"), domain="eurosat")


def test_one_class_and_unknown_classifiers_are_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="at least two class folders"):
        few_shot_folder(str(tmp_path), str(next(folders[0].iterdir())))
    one = tmp_path / "one" / "apple"
    one.mkdir(parents=True)
    (one / "0.png").write_bytes(next(folders[0].glob("*/0.png")).read_bytes())
    with pytest.raises(ValueError, match="at least two class folders"):
        few_shot_folder(str(tmp_path), str(one.parent))
    with pytest.raises(ValueError, match="one of"):
        few_shot_folder(str(tmp_path), str(folders[0]), classifier="oracle")
    with pytest.raises(ValueError, match="folder of class folders"):
        few_shot_folder(str(tmp_path))
