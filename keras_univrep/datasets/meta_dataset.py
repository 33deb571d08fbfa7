"""Meta-Dataset: the eight domains to train on and the five others of few-shot learning."""

import pathlib
from collections.abc import Mapping, Sequence

from keras_univrep.datasets.domain import Domain
from keras_univrep.datasets.episodes import ClassSampler
from keras_univrep.datasets.meta_dataset_cache import Classes, ImageCache, check_numbers
from keras_univrep.datasets.meta_dataset_images import MetaImages
from keras_univrep.datasets.meta_dataset_sources import META_DATASET_SOURCES
from keras_univrep.datasets.meta_dataset_specs import MetaDatasetSpec, read_meta_dataset_spec
from keras_univrep.datasets.meta_domains import META_SPLITS, MetaDomains
from keras_univrep.datasets.streamed_source import cache_folder


def meta_dataset(
    names: str | Sequence[str] | None = None,
    specs: str | pathlib.Path | None = None,
    data_dir: str | pathlib.Path | None = None,
    folders: Mapping[str, str | pathlib.Path] | None = None,
    size: int = 84,
    images_per_class: int | None = None,
    download: bool = False,
    cache_dir: str | pathlib.Path | None = None,
) -> MetaDomains:
    """Opens domains of Meta-Dataset with the official classes of each split.

    | domain | classes: train, validation, test | images | TensorFlow Datasets |
    |---|---|---|---|
    | ilsvrc_2012 | 712, 158, 130 | 1.3 million | imagenet2012, fetched by hand |
    | omniglot | 883, 81, 659 | 32460 | omniglot |
    | aircraft | 70, 15, 15 | 10000 | none: pass a folder |
    | cu_birds | 140, 30, 30 | 11788 | caltech_birds2011 |
    | dtd | 33, 7, 7 | 5640 | dtd |
    | quickdraw | 241, 52, 52 | 50 million | quickdraw_bitmap |
    | fungi | 994, 200, 200 | 89760 | none: pass a folder |
    | vgg_flower | 71, 15, 16 | 8189 | oxford_flowers102 |
    | traffic_sign | 0, 0, 43 | 39209 | none: pass a folder |
    | mscoco | 0, 40, 40 | 860001 objects | coco/2017 |
    | mnist | 0, 0, 10 | 10000 | mnist, test images |
    | cifar10 | 0, 0, 10 | 10000 | cifar10, test images |
    | cifar100 | 0, 0, 100 | 10000 | cifar100, test images |

    Images are resized once, when a split of a domain is first read, and stay on the disk, 3 size**2
    bytes each: memory holds what is in use. An object of mscoco is cut out with a margin of a tenth
    of its box on each side.

    Of files with the same bytes in one class of a folder, the first is kept, with a warning; copies
    in two classes are refused. What TensorFlow Datasets holds is taken as it is.

    Differences:
        The released code resizes without a filter that widens; here images that get smaller do not
        alias. Images are scaled to [-1, 1] as in li2022: mean and deviation are 0.5. Aircraft are
        whole images in a user's folder unless the user cuts the official boxes out, as the
        released code does. li2022 mirrors no image: pass an augmentation that does not.

    Args:
        names: A domain or several; None for all thirteen.
        specs: Official specifications, as for `read_meta_dataset_spec`: a folder or zip archive of
            `NAME_dataset_spec.json` files. Needed but for mnist, cifar10 and cifar100.
        data_dir: Folder of TensorFlow Datasets; None for its default.
        folders: Dict of domain to a folder with one folder a class, instead of TensorFlow Datasets:
            named as the specification names the class, with "_" for "/", or by its number. Needed
            for the three domains without a builder.
        size: Side of the images, in pixels, at least 8.
        images_per_class: Most images of a class, the first of the source; None for all. 50 million
            images of 84 pixels take a terabyte.
        download: Whether to download and prepare what TensorFlow Datasets lacks.
        cache_dir: Folder for the resized images; None for `keras_univrep/meta_dataset` in
            KERAS_HOME or `~/.keras`.

    Returns:
        `MetaDomains`, in the order of the table. Its class samplers keep an episode of omniglot to
        an alphabet and one of ilsvrc_2012 below a node of WordNet.

    Raises:
        FileNotFoundError: If specifications, a folder, the folder of a class, or the prepared data
            of TensorFlow Datasets are missing.
        ValueError: If an argument is out of range or missing, a name unknown, or (when a split is
            first read) a class has no image or a file of another class.
        ImportError: If TensorFlow Datasets or Pillow is not installed.

    Example:

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for digit in range(10):
    ...     (folder / "images" / str(digit)).mkdir(parents=True)
    ...     for i in range(4):
    ...         file = folder / "images" / str(digit) / f"{i}.png"
    ...         Image.new("RGB", (28, 28), (digit, digit, i)).save(file)
    >>> domains = meta_dataset(
    ...     "mnist", folders={"mnist": folder / "images"}, size=32, cache_dir=folder / "cache"
    ... )
    >>> domains.unseen, domains.test["mnist"].arrays("test")[0].shape
    (('mnist',), (40, 32, 32, 3))

    References:
        - Triantafillou et al., Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
          Examples, 2020.
        - Li, Liu and Bilen, Universal Representations: A Unified Look at Multiple Task and Domain
          Learning, 2022, section 5.3.
    """
    check_numbers(size, images_per_class)
    given = list(META_DATASET_SOURCES) if names is None else names
    chosen = [given] if isinstance(given, str) else list(given)
    folders = dict(folders or {})
    unknown = sorted({*chosen, *folders} - set(META_DATASET_SOURCES))
    if unknown or not chosen:
        raise ValueError(
            f"`names` and `folders` must name some of {list(META_DATASET_SOURCES)}. Received: "
            f"{chosen}, unknown: {unknown}. Pass `names=None` for all."
        )
    folder = cache_folder(cache_dir, "meta_dataset")
    domains: dict[str, dict[str, Domain]] = {split: {} for split in META_SPLITS}
    samplers: dict[str, dict[str, ClassSampler]] = {split: {} for split in META_SPLITS}
    for name in (name for name in META_DATASET_SOURCES if name in chosen):
        spec = _read_spec(name, specs)
        facts = META_DATASET_SOURCES[name]
        source = MetaImages(name, facts, folders.get(name), data_dir, download)
        classes = _classes(spec, source)
        cache = ImageCache(source, classes, int(size), images_per_class, folder)
        for split in classes:
            domains[split][name] = cache.domain(split, facts)
            sampler = None if spec is None else spec.class_sampler(split)
            if sampler is not None:
                samplers[split][name] = sampler
    return MetaDomains(
        train=domains["train"],
        validation=domains["validation"],
        test=domains["test"],
        class_samplers=samplers,
    )


def _read_spec(name: str, specs: str | pathlib.Path | None) -> MetaDatasetSpec | None:
    if not META_DATASET_SOURCES[name].has_spec:
        return None
    if specs is None:
        raise ValueError(
            f"`specs` must be the official specifications, which divide the classes of '{name}'. "
            "Received: specs=None. Pass the folder meta_dataset/dataset_conversion/dataset_specs "
            "of https://github.com/google-research/meta-dataset."
        )
    return read_meta_dataset_spec(specs, name)


def _classes(spec: MetaDatasetSpec | None, source: MetaImages) -> Classes:
    if spec is None:
        return {"test": tuple(source.names())}
    return {split: spec.class_names[split] for split in META_SPLITS if spec.class_names[split]}
