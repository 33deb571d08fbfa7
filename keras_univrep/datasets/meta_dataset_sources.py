"""Where the thirteen domains of Meta-Dataset are, and how their images are read."""

import dataclasses
import functools
import io
import pathlib
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_univrep.datasets.image_copies import without_copies
from keras_univrep.datasets.pillow_loader import load_pillow

# Reads the pixels of an image, when they are needed.
Reader = Callable[[], np.ndarray]
# Image files, and the part of the image around an object.
_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_BOX_SCALE = 1.2


def _by_name(name: str, names: Sequence[str]) -> int:
    return list(names).index(name)


def _by_number(name: str, names: Sequence[str]) -> int:
    """'190.Red_cockaded_Woodpecker' is label 189."""
    return range(len(names))[int(name.split(".", 1)[0]) - 1]


def _by_character(name: str, names: Sequence[str]) -> int:
    """'Greek-character01' is 'Greek_0'."""
    alphabet, character = name.rsplit("-character", 1)
    return list(names).index(f"{alphabet}_{int(character) - 1}")


@dataclasses.dataclass(frozen=True)
class MetaDatasetSource:
    """A source of Meta-Dataset.

    Args:
        builder: Its builder of TensorFlow Datasets, or None.
        parts: Splits of the builder whose images are pooled.
        label: Maps the name of a class in the specification, and the builder's names, to the
            builder's label.
        has_spec: Whether there is a specification; without it all classes are for tests.
        flip: Whether a mirrored image keeps its class.
        licence: Licence of the images.
        source: Address of the origin.
        citation: What to cite.
    """

    builder: str | None
    parts: str
    label: Callable[[str, Sequence[str]], int]
    has_spec: bool
    flip: bool
    licence: str
    source: str
    citation: str


_NAMED = (_by_name, True)
META_DATASET_SOURCES = {
    "ilsvrc_2012": MetaDatasetSource(
        *("imagenet2012", "train", *_NAMED, True, "non-commercial research"),
        "https://www.image-net.org",
        "O. Russakovsky et al. ImageNet Large Scale Visual Recognition Challenge. IJCV, 2015.",
    ),
    "omniglot": MetaDatasetSource(
        *("omniglot", "train+test", _by_character, True, False, "MIT"),
        "https://github.com/brendenlake/omniglot",
        "B. M. Lake, R. Salakhutdinov, J. B. Tenenbaum. Human-level Concept Learning through "
        "Probabilistic Program Induction. Science, 2015.",
    ),
    "aircraft": MetaDatasetSource(
        *(None, "", *_NAMED, True, "non-commercial research"),
        "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
        "S. Maji, J. Kannala, E. Rahtu, M. Blaschko, A. Vedaldi. Fine-Grained Visual "
        "Classification of Aircraft. 2013.",
    ),
    "cu_birds": MetaDatasetSource(
        *("caltech_birds2011", "train+test", _by_number, True, True),
        "non-commercial research and education",
        "https://www.vision.caltech.edu/datasets/cub_200_2011",
        "C. Wah, S. Branson, P. Welinder, P. Perona, S. Belongie. The Caltech-UCSD Birds-200-2011 "
        "Dataset. Technical Report CNS-TR-2011-001, 2011.",
    ),
    "dtd": MetaDatasetSource(
        *("dtd", "train+validation+test", *_NAMED, True, "research purposes"),
        "https://www.robots.ox.ac.uk/~vgg/data/dtd",
        "M. Cimpoi, S. Maji, I. Kokkinos, S. Mohamed, A. Vedaldi. Describing Textures in the Wild. "
        "CVPR, 2014.",
    ),
    "quickdraw": MetaDatasetSource(
        *("quickdraw_bitmap", "train", *_NAMED, False, "CC BY 4.0"),
        "https://github.com/googlecreativelab/quickdraw-dataset",
        "J. Jongejan, H. Rowley, T. Kawashima, J. Kim, N. Fox-Gieg. The Quick, Draw! A.I. "
        "Experiment. 2016.",
    ),
    "fungi": MetaDatasetSource(
        *(None, "", *_NAMED, True, "non-commercial research"),
        "https://github.com/visipedia/fgvcx_fungi_comp",
        "B. Schroeder, Y. Cui. FGVCx Fungi Classification Challenge. 2018.",
    ),
    "vgg_flower": MetaDatasetSource(
        *("oxford_flowers102", "train+validation+test", _by_number, True, True),
        "none stated; research data",
        "https://www.robots.ox.ac.uk/~vgg/data/flowers/102",
        "M.-E. Nilsback, A. Zisserman. Automated Flower Classification over a Large Number of "
        "Classes. ICVGIP, 2008.",
    ),
    "traffic_sign": MetaDatasetSource(
        *(None, "", *_NAMED, False, "none stated; public research benchmark"),
        "https://benchmark.ini.rub.de",
        "S. Houben, J. Stallkamp, J. Salmen, M. Schlipsing, C. Igel. Detection of Traffic Signs in "
        "Real-World Images: The German Traffic Sign Detection Benchmark. IJCNN, 2013.",
    ),
    "mscoco": MetaDatasetSource(
        *("coco/2017", "train", *_NAMED, True, "annotations CC BY 4.0; images as on Flickr"),
        "https://cocodataset.org",
        "T.-Y. Lin et al. Microsoft COCO: Common Objects in Context. ECCV, 2014.",
    ),
    "mnist": MetaDatasetSource(
        *("mnist", "test", _by_name, False, False, "CC BY-SA 3.0"),
        "https://www.tensorflow.org/datasets/catalog/mnist",
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner. Gradient-Based Learning Applied to Document "
        "Recognition. Proceedings of the IEEE, 1998.",
    ),
    "cifar10": MetaDatasetSource(
        *("cifar10", "test", _by_name, False, True, "none stated; public research data"),
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "A. Krizhevsky. Learning Multiple Layers of Features from Tiny Images. 2009.",
    ),
    "cifar100": MetaDatasetSource(
        *("cifar100", "test", _by_name, False, True, "none stated; public research data"),
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "A. Krizhevsky. Learning Multiple Layers of Features from Tiny Images. 2009.",
    ),
}


def load_tensorflow_datasets() -> types.ModuleType:
    """Imports TensorFlow Datasets, or names the extra that installs it."""
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "Meta-Dataset's sources are read with TensorFlow Datasets. Received: an installation "
            "without it. Run `pip install keras_univrep[data]`, or pass `folders=`."
        ) from error
    return tfds


def class_names(builder: Any) -> list[str]:
    """Names of the labels of a builder of TensorFlow Datasets."""
    features = builder.info.features
    label = features["label"] if "label" in features else features["objects"].feature["label"]
    return list(label.names)


def builder_images(source: Any) -> Iterator[tuple[int, Reader]]:
    """Labels and encoded images of a dataset of TensorFlow Datasets, in its order.

    Of a set of objects, each object is an image: its box, 1.2 times as wide and high, as far as it
    is within the image.
    """
    for example in source.as_numpy_iterator():
        content = example["image"]
        if "objects" not in example:
            yield int(example["label"]), functools.partial(_decode, content)
            continue
        whole = functools.cache(functools.partial(_decode, content))
        boxes = np.asarray(example["objects"]["bbox"], "float64")
        for label, box in zip(example["objects"]["label"], boxes, strict=True):
            yield int(label), functools.partial(_crop, whole, box)


def folder_images(folder: pathlib.Path, classes: Sequence[str]) -> Iterator[tuple[int, Reader]]:
    """Positions in `classes` and image files of a folder of class folders, sorted by name.

    Of copies in one class the first is kept, with a warning: an episode must not ask for what its
    support set shows.

    Raises:
        FileNotFoundError: If a class has no folder.
        ValueError: If a file has a copy in another class.
    """
    files = {
        name: sorted(file for file in own.iterdir() if file.suffix.lower() in _SUFFIXES)
        for name, own in class_folders(folder, classes).items()
    }
    kept = without_copies(files)
    for number, name in enumerate(classes):
        for file in kept[name]:
            yield number, functools.partial(_decode, file)


def class_folders(folder: pathlib.Path, classes: Sequence[str]) -> dict[str, pathlib.Path]:
    """Finds the folder of each class.

    Its name is that of the class, with "_" for "/"; or the number that begins the name of the
    class, such as "00012" of "12.Priority road".
    """
    found = {child.name: child for child in sorted(folder.iterdir()) if child.is_dir()}
    numbered = {int(name): child for name, child in found.items() if name.isdecimal()}
    folders, lost = {}, []
    for name in classes:
        start = name.split(".", 1)[0]
        child = found.get(name.replace("/", "_"))
        if child is None and "." in name and start.isdecimal():
            child = numbered.get(int(start))
        if child is None:
            lost.append(name)
        else:
            folders[name] = child
    if lost:
        raise FileNotFoundError(
            f"'{folder}' must hold a folder for each of {len(classes)} classes. Received: "
            f"{len(found)} folders, none for {len(lost)} classes, such as {lost[:3]}. Name folders "
            "as the specification names classes, with '_' for '/'."
        )
    return folders


def _decode(content: bytes | pathlib.Path) -> np.ndarray:
    pillow = load_pillow("`meta_dataset`")
    try:
        with pillow.Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as i:
            return np.asarray(i.convert("RGB"))
    except OSError as error:
        raise ValueError(
            f"Every file of a class folder must be a readable image. Received: {error}. Remove the "
            "file or write it again."
        ) from error


def _crop(read: Reader, box: np.ndarray) -> np.ndarray:
    """Cuts out a box (top, left, bottom, right in [0, 1]) and a margin; at least one pixel."""
    pixels = read()
    sides = np.array(pixels.shape[:2], "float64")
    corners = box.reshape(2, 2) * sides
    centre, half = corners.mean(axis=0), _BOX_SCALE * (corners[1] - corners[0]) / 2
    first = np.clip(np.floor(centre - half), 0, sides - 1).astype("int64")
    last = np.clip(np.ceil(centre + half), first + 1, sides).astype("int64")
    return pixels[first[0] : last[0], first[1] : last[1]]
