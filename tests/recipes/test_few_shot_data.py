"""Networks are trained and tested on Meta-Dataset's own domains, from folders of images."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.recipes.runner import refuser, runner

train_url, meta_test, retrieval = map(runner, ("train_url", "meta_test", "retrieval"))
CLASSES = {
    "ilsvrc_2012": {"TRAIN": 3, "VALID": 5, "TEST": 5},
    "omniglot": {"TRAIN": 2, "VALID": 5, "TEST": 5},
    "traffic_sign": {"TRAIN": 0, "VALID": 0, "TEST": 6},
}


def write_images(folder, name, seed, count=6):
    """Writes images whose colour tells the class, apart from much noise."""
    rng = np.random.default_rng(seed)
    for number in range(sum(CLASSES[name].values())):
        place = folder / name / f"class {number}"
        place.mkdir(parents=True)
        images = rng.normal(rng.uniform(60, 190, 3), 60, (count, 16, 16, 3))
        for i, pixels in enumerate(images.clip(0, 255).astype("uint8")):
            Image.fromarray(pixels).save(place / f"{i}.png")


def write_data(folder, seed):
    """Writes specifications and images; returns the flags that name them."""
    for name, parts in CLASSES.items():
        write_images(folder, name, seed)
        total = range(sum(parts.values()))
        spec = {
            "name": name,
            "classes_per_split": parts,
            "class_names": {str(number): f"class {number}" for number in total},
            "images_per_class": {str(number): 6 for number in total},
        }
        (folder / f"{name}_dataset_spec.json").write_text(json.dumps(spec))
    flags = [f"--folder={name}={folder / name}" for name in CLASSES]
    return [*flags, f"--specs={folder}", f"--cache_dir={folder / 'cache'}"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meta_dataset")
    data = ["--benchmark=meta_dataset", *write_data(folder / "data", 0)]
    flags = ["--preset=released", "--width=0.0625", "--domains=omniglot,ilsvrc_2012"]
    train_url(folder / "url", *data, *flags, must_succeed=True)
    return folder, data, flags


def test_the_released_preset_trains_on_meta_dataset(trained):
    folder, _, _ = trained
    networks = json.loads((folder / "url" / "networks.json").read_text())
    assert set(networks) == {"sdl_ilsvrc_2012", "sdl_omniglot", "mdl", "url"}
    assert networks["url"]["domains"] == {"ilsvrc_2012": 3, "omniglot": 2}
    assert networks["url"]["backbone"]["class"] == "ResNet18" and networks["url"]["size"] == 84
    assert networks["url"]["start"] == "sdl_ilsvrc_2012"


@pytest.mark.parametrize(
    "anew",
    [
        pytest.param(True, id="other images"),
        pytest.param(False, id="another size", marks=pytest.mark.slow),
    ],
)
def test_results_are_of_the_images_that_are_given(trained, tmp_path, anew):
    folder, data, _ = trained
    flags = [
        f"--networks_dir={folder / 'url'}", "--domains=omniglot,traffic_sign", "--classifier=ncc",
        "--classifier=urt", "--protocol=five_way_one_shot",
    ]  # fmt: skip

    def table(*more):
        meta_test(tmp_path, *flags, *more, must_succeed=True)
        rows = json.loads((tmp_path / "results.json").read_text())["table"]
        assert {row["method"] for row in rows} >= {"Best SDL, ncc", "url, ncc", "all SDL, urt"}
        return rows

    first = table(*data)
    if anew:
        data = ["--benchmark=meta_dataset", *write_data(tmp_path / "data", 1)]
    second = table(*data, *([] if anew else ["--size=40"]))
    # What was measured of the first images has gone with the second's, and not stayed.
    assert [row["traffic_sign"] for row in first] != [row["traffic_sign"] for row in second]
    assert len(list((tmp_path / "urt").glob("*.npz"))) == 2


def test_retrieval_reads_them_too(trained, tmp_path):
    folder, data, _ = trained
    flags = [f"--networks_dir={folder / 'url'}", "--domains=traffic_sign", "--neighbours=3"]
    retrieval(tmp_path, *data, *flags, must_succeed=True)
    table = json.loads((tmp_path / "results_retrieval.json").read_text())["table"]
    assert all("unseen @1" in row and "seen @1" not in row for row in table)


def test_teachers_of_other_images_are_refused(trained, tmp_path):
    folder, _, flags = trained
    other = ["--benchmark=meta_dataset", *write_data(tmp_path / "data", 1)]
    second = (*other, *flags, "--name=second", "--only=second")
    message = refuser("train_url")(folder / "url", *second)
    assert "sdl_ilsvrc_2012 must have been trained on these images" in message
    message = refuser("train_url", ValueError)(folder / "url", *other, *flags, "--only=mdl")
    assert "other values of data" in message


def test_a_folder_without_a_name_is_refused(tmp_path):
    message = refuser("train_url")(tmp_path, "--benchmark=meta_dataset", "--folder=/data/fungi")
    assert "--folder must be NAME=FOLDER" in message
