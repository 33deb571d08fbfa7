"""Opens the sources of X-Learner through TensorFlow Datasets."""

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_univrep.datasets.detection_examples import BoxRules, Example, detection_examples
from keras_univrep.datasets.label_map_source import resize_labels
from keras_univrep.datasets.meta_dataset_sources import load_tensorflow_datasets
from keras_univrep.datasets.source import Source
from keras_univrep.datasets.source_images import decode_image, fit_image
from keras_univrep.datasets.streamed_source import streamed_source
from keras_univrep.datasets.x_learner_tables import XLearnerSource


def open_builder(
    name: str,
    facts: XLearnerSource,
    splits: dict[str, str],
    data_dir: str | pathlib.Path | None,
    download: bool,
    image_size: tuple[int, int],
    max_boxes: int,
    resize: str,
    cache_dir: pathlib.Path,
) -> Source:
    """Opens a source through its builder.

    Args:
        name: Name of the source.
        facts: What is known of it.
        splits: Dict of split to an expression of TensorFlow Datasets.
        data_dir: Folder of TensorFlow Datasets.
        download: Whether to download and prepare the set.
        image_size: (height, width) to resize to, in pixels.
        max_boxes: Boxes of an image.
        resize: "square" or "pad".
        cache_dir: Folder of the prepared arrays.

    Returns:
        A `Source`.

    Raises:
        FileNotFoundError: If the builder lacks a file, or has not been prepared.
        ImportError: If TensorFlow Datasets is not installed.
    """
    tfds = load_tensorflow_datasets()
    try:
        builder = tfds.builder(str(facts.builder), data_dir=data_dir)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"The builder '{facts.builder}' of source '{name}' must have its files. Received: "
            f"{error}. Some releases of TensorFlow Datasets lack them: pass the folder of the set "
            f"as `folders={{'{name}': ...}}`, or install another release."
        ) from error
    if download:
        builder.download_and_prepare()
    class_names = _class_names(builder)
    rules = BoxRules(class_names, image_size, max_boxes, resize, "rel_yxyx")
    convert = {"classification": _classified, "segmentation": _panoptic}
    readers = {}
    for split, expression in splits.items():
        examples = functools.partial(_read, tfds, builder, expression, name)
        where = f"split '{split}' of source '{name}'"
        if facts.task == "detection":
            make = functools.partial(_detected, examples, rules, where)
        else:
            make = functools.partial(convert[facts.task], examples, image_size)
        identity = f"{resize} {builder.info.full_name} {builder.data_dir} {expression}"
        readers[split] = (identity, make)
    return streamed_source(
        name,
        facts.task,
        class_names,
        image_size,
        readers,
        cache_dir,
        max_boxes if facts.task == "detection" else 0,
        licence=facts.licence,
        source=facts.source,
        citation=facts.citation,
    )


def _class_names(builder: Any) -> tuple[str, ...]:
    features = builder.info.features
    if "faces" in features:
        return ("face",)
    objects = "panoptic_objects" if "panoptic_objects" in features else "objects"
    label = features["label"] if "label" in features else features[objects].feature["label"]
    return tuple(label.names)


def _read(tfds: Any, builder: Any, expression: str, name: str) -> Iterator[tuple[Any, str]]:
    """Examples with encoded images, in the order of the stored files, and words that name them."""
    encoded = [key for key in ("image", "panoptic_image") if key in builder.info.features]
    try:
        source = builder.as_dataset(
            split=expression,
            decoders={key: tfds.decode.SkipDecoding() for key in encoded},
            shuffle_files=False,
        )
    except AssertionError as error:
        raise FileNotFoundError(
            f"Source '{name}' must have been prepared in `data_dir`. Received: "
            f"data_dir={str(builder.data_dir)!r}, which does not hold it. Pass `download=True` "
            f"once, the folder of TensorFlow Datasets that holds it, or "
            f"`folders={{'{name}': ...}}`."
        ) from error
    for number, example in enumerate(source.as_numpy_iterator()):
        file = example.get("image/filename", b"")
        yield example, f"Image {number} {file.decode()!r} of '{expression}' of source '{name}'"


def _classified(examples: Any, image_size: tuple[int, int]) -> Iterator[Example]:
    for example, where in examples():
        image, _ = fit_image(decode_image(example["image"], where), image_size, "square")
        yield {"images": image, "targets": np.array(example["label"], "int32")}


def _detected(examples: Any, rules: BoxRules, where: str) -> Iterator[Example]:
    def annotated() -> Iterator[tuple[np.ndarray, Any, Any, str]]:
        for example, what in examples():
            # Groups, and faces that their annotators call invalid, are no single things.
            objects = example["objects"] if "objects" in example else example["faces"]
            boxes = np.asarray(objects["bbox"])
            left_out = objects["is_crowd"] if "is_crowd" in objects else objects.get("invalid")
            single = ~np.asarray(np.zeros(len(boxes)) if left_out is None else left_out, bool)
            labels = np.asarray(objects.get("label", np.zeros(len(boxes), "int64")))
            yield decode_image(example["image"], what), boxes[single], labels[single], what

    yield from detection_examples(annotated(), rules, where)


def _panoptic(examples: Any, image_size: tuple[int, int]) -> Iterator[Example]:
    for example, where in examples():
        pixels = decode_image(example["image"], where)
        colours = decode_image(example["panoptic_image"], f"The map of {where}").astype("int64")
        if colours.shape != pixels.shape:
            raise ValueError(
                f"{where} must have the size of its map, {colours.shape[:2]}. Received: "
                f"{pixels.shape[:2]}. Prepare the set again."
            )
        segments = resize_labels(colours @ (1, 256, 256 * 256), image_size)
        labels = np.full(image_size, -1, "int16")
        objects = example["panoptic_objects"]
        for number, label in zip(objects["id"], objects["label"], strict=True):
            labels[segments == number] = label
        yield {"images": fit_image(pixels, image_size, "square")[0], "targets": labels}
