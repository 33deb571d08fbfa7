"""mini-ImageNet, birds, cars, places and plants: few shots in and across domains."""

import pathlib
from collections.abc import Mapping, Sequence

from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.meta_dataset_cache import Classes, ImageCache, check_numbers
from keras_univrep.datasets.meta_dataset_images import MetaImages
from keras_univrep.datasets.meta_dataset_sources import META_DATASET_SOURCES, MetaDatasetSource
from keras_univrep.datasets.meta_domains import META_SPLITS, MetaDomains
from keras_univrep.datasets.streamed_source import cache_folder

_BY_NAME = META_DATASET_SOURCES["dtd"].label
_SOURCES = {
    "mini_imagenet": MetaDatasetSource(
        *(None, "", _BY_NAME, True, True, "non-commercial research"),
        "https://www.image-net.org",
        "O. Vinyals et al. Matching Networks for One Shot Learning. NeurIPS, 2016; classes of "
        "S. Ravi, H. Larochelle. Optimization as a Model for Few-Shot Learning. ICLR, 2017.",
    ),
    "cub": MetaDatasetSource(
        *("caltech_birds2011", "train+test", _BY_NAME, True, True),
        *(META_DATASET_SOURCES["cu_birds"].licence, META_DATASET_SOURCES["cu_birds"].source),
        META_DATASET_SOURCES["cu_birds"].citation,
    ),
    "cars": MetaDatasetSource(
        *("cars196", "train+test", _BY_NAME, True, True, "non-commercial research"),
        "https://www.tensorflow.org/datasets/catalog/cars196",
        "J. Krause, M. Stark, J. Deng, L. Fei-Fei. 3D Object Representations for Fine-Grained "
        "Categorization. 3dRR, 2013.",
    ),
    "places": MetaDatasetSource(
        *("places365_small", "train", _BY_NAME, True, True, "non-commercial research"),
        "http://places2.csail.mit.edu",
        "B. Zhou, A. Lapedriza, A. Khosla, A. Oliva, A. Torralba. Places: A 10 Million Image "
        "Database for Scene Recognition. PAMI, 2018.",
    ),
    "plantae": MetaDatasetSource(
        *(None, "", _BY_NAME, True, True, "as each photographer chose"),
        "https://github.com/visipedia/inat_comp/tree/master/2018",
        "G. Van Horn et al. The iNaturalist Species Classification and Detection Dataset. CVPR, "
        "2018.",
    ),
}  # fmt: skip
# Of four classes in a row, two train, one validates and one tests.
_TURNS = ("train", "validation", "train", "test")
# Names of the folders of splits, the published layout's among them.
_FOLDERS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}


def cross_domain_few_shot(
    names: str | Sequence[str] | None = None,
    data_dir: str | pathlib.Path | None = None,
    folders: Mapping[str, str | pathlib.Path] | None = None,
    size: int = 84,
    images_per_class: int | None = None,
    download: bool = False,
    cache_dir: str | pathlib.Path | None = None,
) -> MetaDomains:
    """Opens the domains of cross-domain few-shot classification, their classes divided in three.

    | domain | classes: train, validation, test | images |
    |---|---|---|
    | mini_imagenet | 64, 16, 20 | a folder of train, val and test, each of class folders |
    | cub | 100, 50, 50 | caltech_birds2011 of TensorFlow Datasets, or a folder of class folders |
    | cars | 98, 49, 49 | cars196 of TensorFlow Datasets, or a folder of class folders |
    | places | 183, 91, 91 | places365_small of TensorFlow Datasets, or a folder of class folders |
    | plantae | as many as the folder has: 100, 50, 50 | a folder of class folders |

    mini-ImageNet has its official classes. Of the other domains, classes take turns, in the order
    of TensorFlow Datasets or of the folders' names: the first trains, the second validates, the
    third trains, the fourth tests. mini-ImageNet to CUB is `train["mini_imagenet"]` and
    `test["cub"]`; leaving a domain out is training on the others.

    Differences: The paper's lists of classes and of images of places and plants are files of the
        code that it builds on; here the rule by which that code divides birds serves all four.
        `images_per_class` bounds places, whose builder has 1.8 million images.

    Args:
        names: A domain or several; None for all five.
        data_dir: Folder of TensorFlow Datasets; None for its default.
        folders: Dict of domain to folder, in place of TensorFlow Datasets.
        size: Side of the images, in pixels, at least 8.
        images_per_class: Most images of a class, the first of the source; None for all.
        download: Whether to download and prepare what TensorFlow Datasets lacks.
        cache_dir: Folder for the resized images; None for `keras_univrep/cross_domain_few_shot` in
            KERAS_HOME or `~/.keras`.

    Returns:
        `MetaDomains`, in the order of the table.

    Raises:
        FileNotFoundError: If a folder or the prepared data of TensorFlow Datasets are missing.
        ValueError: If an argument is out of range, a name unknown, a domain needs a folder or has
            fewer than four classes, or (when a split is first read) a class has no image or a file
            of another class.
        ImportError: If TensorFlow Datasets or Pillow is not installed.

    Example:

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for number, species in enumerate(["aloe", "birch", "cedar", "daisy"]):
    ...     (folder / "plants" / species).mkdir(parents=True)
    ...     Image.new("RGB", (20, 20), (number, 9, 9)).save(folder / "plants" / species / "1.png")
    >>> domains = cross_domain_few_shot(
    ...     "plantae", folders={"plantae": folder / "plants"}, size=16, cache_dir=folder / "cache"
    ... )
    >>> domains.train["plantae"].class_names, domains.test["plantae"].class_names
    (('aloe', 'cedar'), ('daisy',))

    References:
        - Shu, Cao, Gao, Wang, Long. Omni-Training for data-efficient deep learning. 2021, section
          6.1.
        - Chen, Liu, Kira, Wang, Huang. A closer look at few-shot classification. ICLR 2019.
        - Tseng, Lee, Huang, Yang. Cross-domain few-shot classification via learned feature-wise
          transformation. ICLR 2020.
    """
    check_numbers(size, images_per_class)
    given = list(_SOURCES) if names is None else names
    chosen = [given] if isinstance(given, str) else list(given)
    places = {name: pathlib.Path(folder) for name, folder in (folders or {}).items()}
    unknown = sorted({*chosen, *places} - set(_SOURCES))
    if unknown or not chosen:
        raise ValueError(
            f"`names` and `folders` must name some of {list(_SOURCES)}. Received: {chosen}, "
            f"unknown: {unknown}. Pass `names=None` for all."
        )
    cache = cache_folder(cache_dir, "cross_domain_few_shot")
    domains: dict[str, dict[str, Domain]] = {split: {} for split in META_SPLITS}
    for name in (name for name in _SOURCES if name in chosen):
        facts, place = _SOURCES[name], places.get(name)
        parts: list[tuple[pathlib.Path | None, tuple[str, ...]]] = [(place, META_SPLITS)]
        if name == "mini_imagenet" and place is not None:
            parts = [(_folder_of(place, split), (split,)) for split in META_SPLITS]
        for folder, splits in parts:
            source = MetaImages(name, facts, folder, data_dir, download)
            classes = _divided(name, source.names(), splits)
            kept = ImageCache(source, classes, int(size), images_per_class, cache)
            for split in splits:
                domains[split][name] = kept.domain(split, facts)
    return MetaDomains(domains["train"], domains["validation"], domains["test"])


def _folder_of(place: pathlib.Path, split: str) -> pathlib.Path:
    for name in _FOLDERS[split]:
        if (place / name).is_dir():
            return place / name
    raise FileNotFoundError(
        f"`folders['mini_imagenet']` must hold the folders train, val and test. Received: "
        f"'{place}' without {_FOLDERS[split][-1]!r}. Put the class folders of each split there."
    )


def _divided(name: str, names: list[str], splits: tuple[str, ...]) -> Classes:
    """The classes of each split: all in a split's own folder, otherwise in turn."""
    if len(splits) == 1:
        return {splits[0]: tuple(names)}
    if len(names) < len(_TURNS):
        raise ValueError(
            f"'{name}' must have four classes at least, to divide them. Received: {names}. Add "
            "class folders."
        )
    turns = [_TURNS[number % len(_TURNS)] for number in range(len(names))]
    return {
        split: tuple(n for n, turn in zip(names, turns, strict=True) if turn == split)
        for split in splits
    }
