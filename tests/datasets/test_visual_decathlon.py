"""The ten domains carry the official numbers and are prepared as each paper's code does."""

import json
import os
import pathlib
import zipfile
from typing import Any

import numpy as np
import pytest

from keras_univrep.datasets import visual_decathlon
from keras_univrep.metrics import DECATHLON_BASELINE

FOLDER = pathlib.Path(os.environ.get("KERAS_UNIVREP_DATA", "absent")) / "decathlon_meta"
NAMES = list(DECATHLON_BASELINE)
UPRIGHT = {"gtsrb", "omniglot", "svhn"}

needs_annotations = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="KERAS_UNIVREP_DATA has no decathlon_meta with official annotations"
)


@pytest.mark.parametrize("preset", ["rebuffi2018", "li2022"])
def test_the_domains_are_those_of_the_score_in_its_order(preset: str) -> None:
    domains = visual_decathlon(preset)
    assert list(domains) == NAMES == [domain.name for domain in domains.values()]


def test_rebuffi2018_crops_64_and_mirrors_all_but_upright_domains_which_it_takes_whole() -> None:
    for name, domain in visual_decathlon("rebuffi2018").items():
        upright = name in UPRIGHT
        assert domain.crop_size == (72 if upright else 64)
        assert domain.image_shape == (domain.crop_size, domain.crop_size, 3)
        assert domain.random_crop is domain.flip is not upright
        assert not domain.squash


def test_li2022_crops_64_at_random_everywhere_but_on_imagenet_and_squashes_two_domains() -> None:
    for name, domain in visual_decathlon("li2022").items():
        assert domain.crop_size == (72 if name == "imagenet12" else 64)
        assert domain.random_crop
        assert domain.flip is (name not in UPRIGHT)
        assert domain.squash is (name in {"aircraft", "daimlerpedcls"})


def test_the_default_is_rebuffi2018_and_others_are_refused() -> None:
    assert visual_decathlon() == visual_decathlon("rebuffi2018") != visual_decathlon("li2022")
    with pytest.raises(ValueError, match=r"`preset` must be one of .*preset='paper'"):
        visual_decathlon("paper")


def test_numbers_of_images_and_categories_do_not_overlap_between_domains() -> None:
    domains = visual_decathlon().values()
    images = [range(d.first_test_image, d.first_test_image + d.num_test_images) for d in domains]
    categories = [range(d.first_category, d.first_category + d.num_classes) for d in domains]
    for ranges in (images, categories):
        numbers = [number for part in ranges for number in part]
        assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("name", ["dtd/test/000003.jpg", b"dtd/test/000003.jpg"])
def test_image_numbers_count_from_the_first(name: str | bytes) -> None:
    dtd = visual_decathlon()["dtd"]
    assert dtd.image_id(name) == dtd.image_id("data/dtd/test/000001.jpg") + 2


@pytest.mark.parametrize(
    "name",
    ["dtd/test/000000.jpg", "dtd/test/001881.jpg", "dtd/val/000001.jpg", "svhn/test/000001.jpg"],
)
def test_names_of_other_images_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be a test image of 'dtd'"):
        visual_decathlon()["dtd"].image_id(name)


@pytest.mark.parametrize("label", [-1, 47])
def test_labels_of_no_category_are_refused(label: int) -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 47\)"):
        visual_decathlon()["dtd"].category_id(label)


def annotations(name: str) -> dict[str, Any]:
    with zipfile.ZipFile(FOLDER / "labels_test.zip") as file:
        return json.loads(file.read(f"{name}_test.json"))


@needs_annotations
@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_those_of_the_official_annotations(name: str) -> None:
    domain, official = visual_decathlon()[name], annotations(name)
    assert len(official["images"]) == domain.num_test_images
    assert len(official["categories"]) == domain.num_classes
    assert all(domain.image_id(image["file_name"]) == image["id"] for image in official["images"])
    categories = [domain.category_id(label) for label in range(domain.num_classes)]
    assert categories == [category["id"] for category in official["categories"]]


@needs_annotations
@pytest.mark.parametrize("name", NAMES)
def test_statistics_are_the_published_ones(name: str) -> None:
    domain = visual_decathlon()[name]
    published = json.loads((FOLDER / "decathlon_mean_std.json").read_text())
    np.testing.assert_allclose(domain.mean, published[f"{name}mean"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(domain.std, published[f"{name}std"], rtol=0, atol=1e-8)
