"""Opens the sources of X-Learner from folders."""

import functools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_univrep.datasets.coco_source import coco_source
from keras_univrep.datasets.detection_examples import Example
from keras_univrep.datasets.label_map_source import label_map_source
from keras_univrep.datasets.source import Source
from keras_univrep.datasets.source_images import decode_image, fit_image
from keras_univrep.datasets.streamed_source import streamed_source
from keras_univrep.datasets.x_learner_tables import XLearnerSource

_SUFFIXES = (".jpg", ".jpeg", ".png")
# Numbers of `labels.txt` that no pixel of COCO-Stuff has.
_NOT_IN_COCO_STUFF = (0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)


def open_folder(
    name: str,
    facts: XLearnerSource,
    folder: pathlib.Path,
    image_size: tuple[int, int],
    max_boxes: int,
    resize: str,
    cache_dir: pathlib.Path,
) -> Source:
    """Opens a source in the layout that `x_learner_sources` lists; splits that are absent are left
    out.

    Raises:
        FileNotFoundError: If the folder, or what it must hold, is missing.
        ValueError: If a file is not what it must be.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"`folders['{name}']` must be a folder. Received: '{folder}', which is none. Check the "
            "path."
        )
    about: dict[str, Any] = {
        field: getattr(facts, field) for field in ("licence", "source", "citation")
    }
    places = {s: _places(facts.layout, folder, own) for s, own in facts.folders.items()}
    there = {s: own for s, own in places.items() if all(path.exists() for path in own)}
    if "train" not in there:
        raise FileNotFoundError(
            f"'{folder}' must hold source '{name}' as `x_learner_sources` lists it. Received: not "
            f"all of {[str(path) for path in places['train']]}. Put them there."
        )
    if facts.layout in ("coco", "objects365"):
        return coco_source(
            name, {s: (own[0], own[1]) for s, own in there.items()}, image_size, max_boxes, resize,
            cache_dir, **about,
        )  # fmt: skip
    if facts.layout in ("ade20k", "coco_stuff"):
        names, values, void = _numbering(facts.layout, folder, name)
        return label_map_source(
            name, {s: (own[0], own[1]) for s, own in there.items()}, names, values, void,
            image_size, cache_dir, **about,
        )  # fmt: skip
    read = _compcars if facts.layout == "compcars" else _class_folders
    files, class_names = read(name, folder, {split: own[0] for split, own in there.items()})
    return streamed_source(
        name,
        "classification",
        class_names,
        image_size,
        {
            split: (
                f"{folder} {len(own)} {own[0]} {own[-1]}",
                functools.partial(classified, name, own, image_size),
            )
            for split, own in files.items()
        },
        cache_dir,
        **about,
    )


def classified(
    name: str, files: Sequence[tuple[pathlib.Path, int]], image_size: tuple[int, int]
) -> Iterator[Example]:
    """Reads and resizes images of classes."""
    for file, label in files:
        pixels = decode_image(file, f"'{file}' of source '{name}'")
        image, _ = fit_image(pixels, image_size, "square")
        yield {"images": image, "targets": np.array(label, "int32")}


def _places(layout: str, folder: pathlib.Path, split: str) -> list[pathlib.Path]:
    """Files and folders of a split."""
    return {
        "classes": lambda: [folder / split],
        "coco": lambda: [folder / "annotations" / f"instances_{split}.json", folder / split],
        "objects365": lambda: [folder / f"zhiyuan_objv2_{split}.json", folder / split],
        "ade20k": lambda: [folder / "images" / split, folder / "annotations" / split],
        "coco_stuff": lambda: [folder / split, folder / "stuffthingmaps" / split],
        "compcars": lambda: [
            folder / "train_test_split" / "classification" / f"{split}.txt",
            folder / "image",
        ],
    }[layout]()


Files = dict[str, list[tuple[pathlib.Path, int]]]


def _class_folders(
    name: str, folder: pathlib.Path, places: dict[str, pathlib.Path]
) -> tuple[Files, tuple[str, ...]]:
    """Images of folders SPLIT/CLASS, sorted."""
    classes = sorted(child.name for child in places["train"].iterdir() if child.is_dir())
    numbers = {class_name: number for number, class_name in enumerate(classes)}
    files: Files = {}
    for split, place in places.items():
        found = [p for p in sorted(place.glob("*/*")) if p.suffix.lower() in _SUFFIXES]
        lost = sorted({file.parent.name for file in found} - set(classes))
        if lost or not found:
            raise ValueError(
                f"'{place}' of source '{name}' must hold CLASS/*.jpg for classes of the training "
                f"split. Received: {len(found)} images, unknown classes {lost[:5]}. Complete the "
                "folder."
            )
        files[split] = [(file, numbers[file.parent.name]) for file in found]
    return files, tuple(classes)


def _compcars(
    name: str, folder: pathlib.Path, places: dict[str, pathlib.Path]
) -> tuple[Files, tuple[str, ...]]:
    """Images of the lists of CompCars, whose class is MAKE/MODEL."""
    lists = {split: place.read_text().split() for split, place in places.items()}
    classes = sorted({"/".join(line.split("/")[:2]) for line in lists["train"]})
    numbers = {class_name: number for number, class_name in enumerate(classes)}
    files: Files = {}
    for split, lines in lists.items():
        files[split] = []
        for line in lines:
            label = numbers.get("/".join(line.split("/")[:2]))
            if label is None or line.count("/") != 3:
                raise ValueError(
                    f"'{places[split]}' of source '{name}' must list MAKE/MODEL/YEAR/NAME.jpg of "
                    f"models of the training split. Received: {line!r}. Fetch the list again."
                )
            files[split].append((folder / "image" / line, label))
        if not files[split]:
            raise ValueError(
                f"'{places[split]}' of source '{name}' must list an image. Received: none. Fetch "
                "the list again."
            )
    return files, tuple(classes)


def _numbering(
    layout: str, folder: pathlib.Path, name: str
) -> tuple[list[str], dict[int, int], tuple[int, ...]]:
    """Class names, classes of pixel values, and values without label."""
    file = folder / ("objectInfo150.txt" if layout == "ade20k" else "labels.txt")
    if not file.is_file():
        raise FileNotFoundError(
            f"'{folder}' must hold the class names of source '{name}'. Received: no file "
            f"'{file.name}'. Copy it from the set."
        )
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    try:
        if layout == "ade20k":
            # A heading, and then columns: number, ratio, images, images, name.
            rows = {int(line.split("\t")[0]): line.split("\t")[-1] for line in lines[1:]}
            values, void = {number: i for i, number in enumerate(rows)}, (0,)
        else:
            pairs = (line.split(":", 1) for line in lines)
            every = {int(number): text.strip() for number, text in pairs}
            rows = {n: text for n, text in every.items() if n not in _NOT_IN_COCO_STUFF}
            # Maps count from 0 what the names count from 1.
            values, void = {number - 1: i for i, number in enumerate(rows)}, (255,)
    except ValueError as error:
        raise ValueError(
            f"'{file}' of source '{name}' must number the classes. Received: {error}. Copy it from "
            "the set again."
        ) from error
    return list(rows.values()), values, void
