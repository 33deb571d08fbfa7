"""`meta_dataset` reads its sources with TensorFlow Datasets or from folders, split by classes."""

import contextlib
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from keras_univrep.datasets import (
    episode_batches,
    episode_pipeline,
    meta_dataset,
    multi_domain_pipeline,
)
from keras_univrep.datasets.meta_dataset_sources import META_DATASET_SOURCES, class_names

tfds = pytest.importorskip("tensorflow_datasets")

RNG = np.random.default_rng(0)
SPLITS = ("train", "validation", "test")
OFFICIAL = pathlib.Path(os.environ.get("KERAS_UNIVREP_DATA", "absent")) / "meta_dataset_specs"
needs_specs = pytest.mark.skipif(
    not OFFICIAL.is_dir(), reason="KERAS_UNIVREP_DATA has no official specifications"
)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype("uint8")


def write_spec(folder: pathlib.Path, name: str, parts: dict[str, list[str]]) -> pathlib.Path:
    classes = [class_name for own in parts.values() for class_name in own]
    content = {
        "name": name,
        "classes_per_split": {s.upper()[:5]: len(parts.get(s, [])) for s in ("train", "test")}
        | {"VALID": len(parts.get("validation", []))},
        "class_names": {str(i): class_name for i, class_name in enumerate(classes)},
        "images_per_class": {str(i): 9 for i in range(len(classes))},
    }
    (folder / f"{name}_dataset_spec.json").write_text(json.dumps(content))
    return folder


def write_folder(folder: pathlib.Path, names: list[str], count: int = 4) -> dict[str, np.ndarray]:
    """Writes random images of 10 x 10 pixels of each class and returns them."""
    images = {name: pixels(count, 10, 10, 3) for name in names}
    for name, own in images.items():
        (folder / name).mkdir(parents=True)
        for i, image in enumerate(own):
            Image.fromarray(image).save(folder / name / f"{i}.png")
    return images


@contextlib.contextmanager
def holding(
    images: list[np.ndarray], labels: list[int], objects: list[dict[str, np.ndarray]] | None = None
) -> Iterator[list[str]]:
    """Puts images, losslessly encoded, in place of those of every builder; lists what is asked."""
    import tensorflow as tf

    encoded = [tf.io.encode_png(image).numpy() for image in images]
    asked: list[str] = []

    def as_dataset(self: Any, split: str, decoders: dict[str, Any], **kwargs: Any) -> Any:
        asked.append(f"{self.name}:{split}")
        if objects is None:
            content = {"image": tf.constant(encoded), "label": np.array(labels, "int64")}
            return tf.data.Dataset.from_tensor_slices(content)

        def examples() -> Iterator[dict[str, Any]]:
            for image, own in zip(encoded, objects, strict=True):
                yield {"image": image, "objects": own}

        signature = {
            "image": tf.TensorSpec((), tf.string),
            "objects": {
                "bbox": tf.TensorSpec((None, 4), tf.float32),
                "label": tf.TensorSpec((None,), tf.int64),
            },
        }
        return tf.data.Dataset.from_generator(examples, output_signature=signature)

    with tfds.testing.mock_data(as_dataset_fn=as_dataset):
        yield asked


def test_classes_of_a_builder_are_divided_as_the_specification_says(tmp_path: pathlib.Path) -> None:
    images, labels = [pixels(12, 12, 3) for _ in range(18)], [i % 6 for i in range(18)]
    with tfds.testing.mock_data(num_examples=1):
        known = class_names(tfds.builder("dtd"))
    parts = {"train": [known[5], known[0]], "validation": [known[3]], "test": [known[2], known[4]]}
    specs = write_spec(tmp_path, "dtd", parts)
    with holding(images, labels) as asked:
        domains = meta_dataset("dtd", specs, size=12, cache_dir=tmp_path / "cache")
        for split in SPLITS:
            domain = domains.domain("dtd", split)
            assert list(domain.class_names) == parts[split]
            found, own = domain.arrays(split)
            order = labels_of(labels, parts[split], known)
            np.testing.assert_array_equal(found, np.stack([images[i] for i in order]))
            assert [known.index(domain.class_names[i]) for i in own] == [labels[i] for i in order]
            assert domain.mean == domain.std == (0.5, 0.5, 0.5) and domain.licence
    assert set(asked) == {"dtd:train+validation+test"}
    assert domains.seen == ("dtd",) and not domains.unseen


def labels_of(labels: list[int], names: list[str], known: list[str]) -> list[int]:
    """Positions of the images of some classes."""
    wanted = {known.index(name) for name in names}
    return [i for i, label in enumerate(labels) if label in wanted]


@pytest.mark.parametrize(
    ("name", "class_name", "names", "label"),
    [
        ("cu_birds", "190.Red_cockaded_Woodpecker", ["x"] * 200, 189),
        ("vgg_flower", "001.pink primrose", ["x"] * 102, 0),
        ("omniglot", "Mkhedruli_(Georgian)-character07", ["a", "Mkhedruli_(Georgian)_6"], 1),
        ("quickdraw", "The Eiffel Tower", ["cat", "The Eiffel Tower"], 1),
    ],
)
def test_names_of_the_specification_find_the_label_of_the_builder(
    name: str, class_name: str, names: list[str], label: int
) -> None:
    assert META_DATASET_SOURCES[name].label(class_name, names) == label


def test_objects_are_cut_out_with_a_margin(tmp_path: pathlib.Path) -> None:
    specs = write_spec(tmp_path, "mscoco", {"validation": ["2"], "test": ["0"]})
    image = pixels(40, 60, 3)
    boxes = np.array([[0.25, 0.25, 0.75, 0.75], [0.0, 0.5, 0.5, 1.0], [0.5, 0.5, 0.5, 0.5]])
    # Without prepared data, the builder names its classes by their numbers; 1 is in no split.
    objects = [{"bbox": boxes.astype("float32"), "label": np.array([0, 0, 2])}]
    objects += [{"bbox": boxes[:1].astype("float32"), "label": np.array([1])}]
    with holding([image, image], [], objects):
        domains = meta_dataset("mscoco", specs, size=8, cache_dir=tmp_path / "cache")
        people, cars = domains.test["mscoco"], domains.validation["mscoco"]
        found = people.arrays("test")[0]
        assert cars.size("validation") == 1
    # Boxes of 20 x 30 pixels, wider by a tenth on each side, within the image.
    for got, part in zip(found, (image[8:32, 12:48], image[:22, 27:60]), strict=True):
        expected = Image.fromarray(part).resize((8, 8), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(got, np.asarray(expected))
    point = Image.fromarray(image[20:21, 30:31]).resize((8, 8))
    np.testing.assert_array_equal(cars.arrays("validation")[0][0], np.asarray(point))
    assert domains.unseen == ("mscoco",)


def test_sets_without_a_specification_are_for_tests(tmp_path: pathlib.Path) -> None:
    images, labels = [pixels(28, 28, 1) for _ in range(20)], [i % 10 for i in range(20)]
    with holding(images, labels) as asked:
        domains = meta_dataset("mnist", size=28, cache_dir=tmp_path)
        found, own = domains.test["mnist"].arrays("test")
    assert domains.unseen == ("mnist",) and set(asked) == {"mnist:test"}
    np.testing.assert_array_equal(found, np.repeat(np.stack(images), 3, axis=-1))
    assert own.tolist() == labels


def test_folders_stand_in_for_builders(tmp_path: pathlib.Path) -> None:
    parts = {"train": ["F-16A/B", "A318"], "validation": ["DC-3"], "test": ["747-400", "E-195"]}
    specs = write_spec(tmp_path, "aircraft", parts)
    signs = [f"{i:02d}.Limit ({i} km/h)" for i in range(3)]
    write_spec(tmp_path, "traffic_sign", {"test": signs})
    names = ["747-400", "A318", "DC-3", "E-195", "F-16A_B", "unused"]
    images = write_folder(tmp_path / "aircraft", names)
    numbered = write_folder(tmp_path / "signs", ["00000", "00001", "00002", "00003"])
    folders = {"aircraft": tmp_path / "aircraft", "traffic_sign": tmp_path / "signs"}
    domains = meta_dataset(
        list(folders), specs, folders=folders, size=10, cache_dir=tmp_path / "cache"
    )
    found, own = domains.train["aircraft"].arrays("train")
    np.testing.assert_array_equal(found, np.concatenate([images["F-16A_B"], images["A318"]]))
    assert own.tolist() == [0] * 4 + [1] * 4
    found = domains.test["traffic_sign"].arrays("test")[0]
    expected = [numbered[f"0000{i}"] for i in range(3)]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    assert domains.seen == ("aircraft",) and domains.unseen == ("traffic_sign",)


def test_images_stay_on_the_disk_and_are_read_once(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    names = [f"species {i}" for i in range(6)]
    specs = write_spec(tmp_path, "fungi", {"train": names[:1], "test": names[1:]})
    write_folder(tmp_path / "fungi", names)

    def opened(**arguments: Any) -> Any:
        folders = {"fungi": tmp_path / "fungi"}
        return meta_dataset(["fungi"], specs, folders=folders, size=8, **arguments)

    cache = tmp_path / "home" / "keras_univrep" / "meta_dataset"
    domains = opened()
    assert not cache.exists()
    images = domains.test["fungi"].arrays("test")[0]
    assert isinstance(images, np.memmap) and not images.flags.writeable
    (made,) = cache.iterdir()
    stamp = (made / "x_train.bin").stat().st_mtime_ns
    assert opened().train["fungi"].size("train") == 4
    assert (made / "x_train.bin").stat().st_mtime_ns == stamp
    assert opened(images_per_class=2).test["fungi"].size("test") == 10
    assert len(list(cache.iterdir())) == 2
    (made / "x_test.bin").write_bytes(b"cut")
    with pytest.raises(ValueError, match="must hold 20 images. Received: 3 bytes"):
        opened().test["fungi"].arrays("test")
    Image.fromarray(pixels(10, 10, 3)).save(tmp_path / "fungi" / "species 1" / "new.png")
    assert opened().test["fungi"].size("test") == 21


def test_the_domains_feed_pipelines_and_episodes(tmp_path: pathlib.Path) -> None:
    names = [f"species {i}" for i in range(10)]
    specs = write_spec(tmp_path, "fungi", {"train": names[:5], "test": names[5:]})
    write_folder(tmp_path / "fungi", names)
    folders = {"fungi": tmp_path / "fungi"}
    domains = meta_dataset("fungi", specs, None, folders, 16, cache_dir=tmp_path / "cache")
    images, _ = next(iter(multi_domain_pipeline(domains.train, "train", 2, training=True)))
    assert tuple(images["fungi"].shape) == (2, 16, 16, 3)
    sampler = domains.sampler("fungi", "test", "five_way_one_shot")
    fed = next(iter(episode_pipeline(domains.test["fungi"], "test", sampler, episodes=1)))
    batch = episode_batches(domains.test["fungi"], "test", sampler, episodes=1)[0]
    for key, values in batch.items():
        np.testing.assert_array_equal(fed[key], values)


def test_a_class_without_an_image_is_refused(tmp_path: pathlib.Path) -> None:
    with holding([pixels(28, 28, 1)], [3]):
        domain = meta_dataset("mnist", size=8, cache_dir=tmp_path / "cache").test["mnist"]
        with pytest.raises(ValueError, match="9 classes of 10 without, such as"):
            domain.arrays("test")
    assert not list((tmp_path / "cache").iterdir())


def shown_twice(domains: Any) -> int:
    """Episodes that ask for an image that their support set shows."""
    images = domains.test["fungi"].arrays("test")[0]
    sampler = domains.sampler("fungi", "test", "five_way_five_shot", query=1)
    found = 0
    for number in range(50):
        episode = sampler(number)
        support = {images[i].tobytes() for i in episode.support_indices}
        found += any(images[i].tobytes() in support for i in episode.query_indices)
    return found


def test_copies_of_a_file_are_left_out_of_episodes(tmp_path: pathlib.Path) -> None:
    names = [f"species {i}" for i in range(6)]
    specs = write_spec(tmp_path, "fungi", {"train": names[:1], "test": names[1:]})
    write_folder(tmp_path / "fungi", names, count=6)
    folders = {"fungi": tmp_path / "fungi"}
    arguments: dict[str, Any] = {"size": 8, "cache_dir": tmp_path / "cache"}
    alone = meta_dataset("fungi", specs, folders=folders, **arguments)
    expected = alone.test["fungi"].arrays("test")
    for name in names:
        shutil.copy(tmp_path / "fungi" / name / "3.png", tmp_path / "fungi" / name / "a.png")
    domains = meta_dataset("fungi", specs, folders=folders, **arguments)
    with pytest.warns(UserWarning, match=r"6 images are left out.*species 0/a.png"):
        found = domains.test["fungi"].arrays("test")
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert shown_twice(domains) == 0


def test_a_file_in_two_classes_is_refused(tmp_path: pathlib.Path) -> None:
    names = ["a", "b", "c"]
    specs = write_spec(tmp_path, "fungi", {"train": names[:2], "test": names[2:]})
    write_folder(tmp_path / "fungi", names)
    shutil.copy(tmp_path / "fungi" / "a" / "1.png", tmp_path / "fungi" / "c" / "x.png")
    folders = {"fungi": tmp_path / "fungi"}
    domains = meta_dataset("fungi", specs, folders=folders, size=8, cache_dir=tmp_path / "cache")
    with pytest.raises(ValueError, match=r"must be in one class.*a/1.png' and '.*c/x.png'"):
        domains.train["fungi"].arrays("train")
    assert not list((tmp_path / "cache").iterdir())


def test_missing_classes_and_broken_images_are_named(tmp_path: pathlib.Path) -> None:
    specs = write_spec(tmp_path, "fungi", {"train": ["a", "b"], "test": ["c"]})
    write_folder(tmp_path / "fungi", ["a", "b"])
    arguments: dict[str, Any] = {
        "folders": {"fungi": tmp_path / "fungi"},
        "cache_dir": tmp_path / "cache",
        "size": 8,
    }
    with pytest.raises(FileNotFoundError, match=r"none for 1 classes, such as \['c'\]"):
        meta_dataset("fungi", specs, **arguments)
    (tmp_path / "fungi" / "c").mkdir()
    (tmp_path / "fungi" / "c" / "x.png").write_bytes(b"nothing")
    domains = meta_dataset("fungi", specs, **arguments)
    with pytest.raises(ValueError, match=r"must be a readable image.*x.png"):
        domains.test["fungi"].arrays("test")
    with holding([pixels(8, 8, 3)], [0]):
        write_spec(tmp_path, "dtd", {"train": ["no such texture"]})
        other = meta_dataset("dtd", specs, size=8, cache_dir=tmp_path / "cache")
        with pytest.raises(ValueError, match="must be those of the specification of 'dtd'"):
            other.train["dtd"].arrays("train")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"names": "mnist", "size": 7}, ValueError, "`size` must be an integer of at least 8"),
        ({"names": "mnist", "images_per_class": 0}, ValueError, "`images_per_class` must be an"),
        ({"names": []}, ValueError, "must name some of"),
        ({"names": ["mnist", "birds"]}, ValueError, r"unknown: \['birds'\]"),
        ({"names": "mnist", "folders": {"birds": "."}}, ValueError, r"unknown: \['birds'\]"),
        ({"names": "dtd"}, ValueError, "`specs` must be the official specifications"),
        ({"names": "mnist", "folders": {"mnist": "absent"}}, FileNotFoundError, "is no folder"),
    ],
)
def test_arguments_out_of_range_are_refused(
    tmp_path: pathlib.Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        meta_dataset(cache_dir=tmp_path, **arguments)


def test_sources_without_a_builder_need_a_folder(tmp_path: pathlib.Path) -> None:
    specs = write_spec(tmp_path, "fungi", {"train": ["a"], "test": ["c"]})
    with pytest.raises(ValueError, match=r"`folders` must name the folder of 'fungi'"):
        meta_dataset("fungi", specs)
    with pytest.raises(FileNotFoundError, match=r"must be a source in"):
        meta_dataset("aircraft", specs)


def test_data_that_has_not_been_prepared_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match="'mnist' must have been prepared in `data_dir`"):
        meta_dataset("mnist", data_dir=tmp_path)


def test_without_tensorflow_datasets_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r"pip install keras_univrep\[data\]"):
        meta_dataset("mnist")


@needs_specs
def test_the_docstring_states_the_official_classes(tmp_path: pathlib.Path) -> None:
    specs = OFFICIAL / "dataset_specs.zip"
    with tfds.testing.mock_data(num_examples=1):
        folders = {}
        for name in ("aircraft", "fungi", "traffic_sign"):
            folders[name] = tmp_path / name
            spec = meta_specs(specs, name)
            for own in spec.class_names.values():
                for class_name in own:
                    (folders[name] / class_name.replace("/", "_")).mkdir(parents=True)
        domains = meta_dataset(None, specs, folders=folders, cache_dir=tmp_path / "cache")
        for name in domains.test:
            own = [getattr(domains, split).get(name) for split in SPLITS]
            counts = [0 if domain is None else domain.num_classes for domain in own]
            assert f"| {name} | {', '.join(map(str, counts))} |" in meta_dataset.__doc__
    assert len(domains.seen) == 8 and len(domains.unseen) == 5
    samplers = domains.class_samplers
    assert all(set(samplers[split]) == {"ilsvrc_2012", "omniglot"} for split in SPLITS)


def meta_specs(specs: pathlib.Path, name: str) -> Any:
    from keras_univrep.datasets import read_meta_dataset_spec

    return read_meta_dataset_spec(specs, name)


@needs_specs
@pytest.mark.parametrize("name", ["ilsvrc_2012", "cu_birds", "dtd", "quickdraw", "vgg_flower"])
def test_every_official_class_has_a_label_of_its_own(name: str) -> None:
    spec = meta_specs(OFFICIAL / "dataset_specs.zip", name)
    source = META_DATASET_SOURCES[name]
    with tfds.testing.mock_data(num_examples=1):
        known = class_names(tfds.builder(source.builder))
    official = [class_name for own in spec.class_names.values() for class_name in own]
    labels = [source.label(class_name, known) for class_name in official]
    assert sorted(labels) == list(range(len(known)))
    if name == "vgg_flower":  # numbers and names agree
        wrong = [n for n, i in zip(official, labels, strict=True) if n.split(".")[1] != known[i]]
        assert len(wrong) < 5, wrong


def test_every_builder_is_one_of_tensorflow_datasets() -> None:
    builders = {source.builder for source in META_DATASET_SOURCES.values()} - {None}
    assert {builder.split("/")[0] for builder in builders} <= set(tfds.list_builders())
    for name, source in META_DATASET_SOURCES.items():
        assert source.licence and source.citation and source.source.startswith("https://"), name
