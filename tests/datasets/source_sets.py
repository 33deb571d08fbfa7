"""Sources of random images, and tiny sets in the layouts that `sources_local` reads."""

import json
import pathlib

import numpy as np

from keras_univrep.datasets import Source, detection_source, source_from_domain
from tests.datasets.dense_sets import RNG, nyu_files, toy_domain, write_archive
from tests.datasets.local_sets import write_local_sets


def toy_classes(n: int = 7, side: int = 16, name: str = "classes") -> Source:
    """Random images; the split "test" has three."""
    splits = {
        split: (
            RNG.integers(0, 256, (size, side, side, 3)).astype("uint8"),
            (np.arange(size) % 3).astype("int32"),
        )
        for split, size in (("train", n), ("test", 3))
    }
    return Source(name, "classification", ("a", "b", "c"), (side, side, 3), splits)


def toy_boxes(n: int = 5, side: int = 16, name: str = "boxes") -> Source:
    """Random images with up to two boxes; the split "test" has four."""
    splits = {}
    for split, size in (("train", n), ("test", 4)):
        images = RNG.integers(0, 256, (size, side, side, 3)).astype("uint8")
        boxes = [[[2, 3, 9, 8], [1, 1, 5, 15]][: number % 3] for number in range(size)]
        splits[split] = (images, boxes, [[0, 1][: len(one)] for one in boxes])
    return detection_source(name, splits, ["cat", "dog"], side, max_boxes=2)


def toy_maps(kind: str, n: int = 6, side: int = 16) -> Source:
    """A task of `toy_domain`; the split "test" has three images."""
    return source_from_domain(toy_domain(n, side, side), kind)


def toy_sources(side: int = 16) -> dict[str, dict[str, Source]]:
    """Sources of four kinds and unequal sizes."""
    return {
        "classification": {
            "many": toy_classes(9, side, "many"),
            "few": toy_classes(4, side, "few"),
        },
        "detection": {"things": toy_boxes(5, side)},
        "segmentation": {"rooms": toy_maps("segmentation", 6, side)},
        "depth": {"rooms": toy_maps("depth", 6, side)},
    }


def pixels(height: int, width: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, 3)).astype("uint8")


def detection_files(name: str) -> dict[str, bytes | np.ndarray]:
    """Files of a detection set of `sources_local`."""
    files: dict[str, bytes | np.ndarray] = {}
    if name == "coco128":
        lines = ["names:", "  0: person", "  1: traffic light"]
        files["config/object_detection_config.yaml"] = "\n".join(lines).encode()
        for part, count in (("train2017", 12), ("val2017", 3)):
            for i in range(count):
                files[f"images/{part}/{i:03d}.jpg"] = pixels(20, 40)
                if i:  # The first has no file of boxes: a negative image.
                    rows = f"1 0.5 0.5 0.5 0.5\n0 0.25 0.5 0.{i % 4}4 1.0\n"
                    files[f"object_detection/{part}/{i:03d}.txt"] = rows.encode()
    elif name == "pennfudan":
        names = [f"{part}Ped{i:05d}" for part in ("Fudan", "Penn") for i in range(17)]
        boxes = {key: [[2, 4, 10, 20]] * (1 + i % 2) for i, key in enumerate(names)}
        files |= {f"images/{key}.jpg": pixels(24, 30) for key in names}
        files["boxes_xyxy.json"] = json.dumps(boxes).encode()
    else:
        splits = {"train": ["B0", "B1", "B2"], "val": ["B3"], "test": ["B4", "B5"]}
        every = [image for row in splits.values() for image in row]
        rows = {image: [["RBC", 1, 2, 11.5, 12], ["Platelets", 3, 3, 8, 9]] for image in every}
        files |= {f"images/{image}.jpg": pixels(24, 32) for image in every}
        content = {"boxes_xyxy_320x240": rows, "splits": splits}
        files["annotations.json"] = json.dumps(content).encode()
    return files


def write_source_sets(folder: pathlib.Path) -> pathlib.Path:
    """Writes all sets of `sources_local`, a few images each."""
    write_local_sets(folder)
    for file in ("coco128/coco128_320", "pennfudan/pennfudan_half", "bccd/bccd_320"):
        write_archive(folder / f"{file}.zip", detection_files(file.split("/")[0]))
    streets = {}
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        for i in range(count):
            streets[f"{split}/rgb/{split}{i}.jpg"] = pixels(180, 240)
            labels = RNG.integers(0, 12, (180, 240)).astype("uint8")
            streets[f"{split}/seg/{split}{i}.png"] = labels
    write_archive(folder / "camvid/camvid_180x240.zip", streets)
    # `nyu_local` holds out whole runs of together at most 100.
    rooms = nyu_files([*range(1, 4), *range(6, 105)], [4, 5])
    write_archive(folder / "nyuv2/nyuv2_144x192_full.zip", rooms)
    return folder
