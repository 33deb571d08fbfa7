"""`cross_domain_few_shot` divides the classes of builders and folders in three."""

import pathlib

import numpy as np
import pytest

from keras_univrep.datasets import cross_domain_few_shot, episode_batches
from keras_univrep.datasets.meta_dataset_sources import class_names
from tests.datasets.test_meta_dataset import holding, pixels, write_folder

tfds = pytest.importorskip("tensorflow_datasets")

SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize(
    ("name", "counts"),
    [("cub", (100, 50, 50)), ("cars", (98, 49, 49)), ("places", (183, 91, 91))],
)
def test_classes_of_a_builder_take_turns(
    name: str, counts: tuple[int, ...], tmp_path: pathlib.Path
) -> None:
    images, labels = [pixels(12, 12, 3) for _ in range(24)], [i % 12 for i in range(24)]
    with holding(images, labels) as asked:
        domains = cross_domain_few_shot(name, size=12, cache_dir=tmp_path)
        known = [n for split in SPLITS for n in domains.domain(name, split).class_names]
        # Only the first twelve classes have images: all others are refused by name.
        with pytest.raises(ValueError, match="Every class of .* must have an image"):
            domains.test[name].arrays("test")
    assert tuple(domains.domain(name, split).num_classes for split in SPLITS) == counts
    assert len(set(known)) == sum(counts) and asked
    with tfds.testing.mock_data(num_examples=1):
        builder = {"cub": "caltech_birds2011", "cars": "cars196", "places": "places365_small"}
        order = class_names(tfds.builder(builder[name]))
    assert list(domains.train[name].class_names) == order[::2]
    assert list(domains.validation[name].class_names) == order[1::4]
    assert list(domains.test[name].class_names) == order[3::4]


def test_images_of_folders_go_with_their_classes(tmp_path: pathlib.Path) -> None:
    names = ["a", "b", "c", "d", "e", "f", "g", "h"]
    images = write_folder(tmp_path / "plants", names)
    domains = cross_domain_few_shot(
        ["plantae"], folders={"plantae": tmp_path / "plants"}, size=10, cache_dir=tmp_path / "cache"
    )
    for split, own in (("train", "aceg"), ("validation", "bf"), ("test", "dh")):
        found, labels = domains.domain("plantae", split).arrays(split)
        np.testing.assert_array_equal(found, np.concatenate([images[name] for name in own]))
        np.testing.assert_array_equal(labels, np.repeat(np.arange(len(own)), 4))


def test_mini_imagenet_has_a_folder_of_each_split(tmp_path: pathlib.Path) -> None:
    images = {
        split: write_folder(tmp_path / "mini" / folder, [f"{split}{i}" for i in range(5)], 3)
        for split, folder in zip(SPLITS, ("train", "val", "test"), strict=True)
    }
    folders = {"mini_imagenet": tmp_path / "mini"}
    domains = cross_domain_few_shot(
        "mini_imagenet", folders=folders, size=10, cache_dir=tmp_path / "cache"
    )
    for split in SPLITS:
        found, labels = domains.domain("mini_imagenet", split).arrays(split)
        np.testing.assert_array_equal(found, np.concatenate(list(images[split].values())))
        assert labels.tolist() == [label for label in range(5) for _ in range(3)]
    sampler = domains.sampler("mini_imagenet", "test", "five_way_one_shot", query=2)
    batch = next(iter(episode_batches(domains.test["mini_imagenet"], "test", sampler, 1)))
    assert batch["support_images"].shape == (5, 10, 10, 3)
    (tmp_path / "mini" / "val").rename(tmp_path / "mini" / "other")
    with pytest.raises(FileNotFoundError, match="without 'val'"):
        cross_domain_few_shot("mini_imagenet", folders=folders)


def test_what_cannot_be_opened_is_refused(tmp_path: pathlib.Path) -> None:
    for name in ("mini_imagenet", "plantae"):
        with pytest.raises(ValueError, match="`folders` must name the folder"):
            cross_domain_few_shot(name)
    with pytest.raises(ValueError, match="must name some of"):
        cross_domain_few_shot("birds")
    with pytest.raises(ValueError, match="`size` must be an integer"):
        cross_domain_few_shot("cub", size=4)
    write_folder(tmp_path / "few", ["a", "b", "c"])
    with pytest.raises(ValueError, match="four classes at least"):
        cross_domain_few_shot("cars", folders={"cars": tmp_path / "few"})
