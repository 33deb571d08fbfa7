import csv
import json

import numpy as np
import pytest

from keras_univrep import datasets
from keras_univrep.programs import classify_folder
from keras_univrep.programs._pictures import write_image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Test images of a domain, named by their class."""
    place = tmp_path_factory.mktemp("images")
    domain = datasets.load_domain("signdigits")
    images, labels = domain.arrays("test")
    for index in range(12):
        write_image(place / f"{index:02}_{domain.class_names[labels[index]]}.png", images[index])
    return place


def test_images_are_classified_as_the_network_scores(folder, tmp_path):
    rows = classify_folder(str(tmp_path), str(folder), domains=["signdigits"], batch_size=8)
    with (tmp_path / "predictions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(rows) == len(table) == 12 * 3
    first = [row for row in table if row["rank"] == "1"]
    right = [row["file"].removesuffix(".png").rsplit("_", 1)[1] == row["name"] for row in first]
    # The registry says 98 %.
    assert np.mean(right) >= 0.8
    shares = [float(row["probability"]) for row in table]
    assert all(0.0 <= share <= 1.0 for share in shares)
    assert json.loads((tmp_path / "results.json").read_text())["table"][0]["images"] == 12


def test_the_sheet_shows_every_image_and_escapes_names(folder, tmp_path):
    odd = tmp_path / "images"
    odd.mkdir()
    (odd / "<b>&.png").write_bytes(next(folder.iterdir()).read_bytes())
    classify_folder(str(tmp_path / "out"), str(odd), domains=["signdigits"], batch_size=8)
    sheet = (tmp_path / "out" / "contact_sheet.html").read_text()
    assert sheet.count("<img ") == 1 and "data:image/png;base64," in sheet
    assert "&lt;b&gt;&amp;.png" in sheet and "<b>&.png" not in sheet


def test_what_is_missing_is_said(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="must be images"):
        classify_folder(str(tmp_path), str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="must be one of"):
        classify_folder(str(tmp_path), str(folder), domains=["birds"])
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(ValueError, match="readable image"):
        classify_folder(str(tmp_path), str(broken), domains=["signdigits"])
