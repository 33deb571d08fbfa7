"""Opens the domains of the few-shot recipes; `train_url.py`, `meta_test.py`, `retrieval.py` run it.

Paper: Li, Liu, Bilen, "Universal representations" (li2022), section 5.3. `--benchmark=meta_local`
is Meta-Dataset's protocol on the small sets below `--data_dir`. `--benchmark=meta_dataset` is
Meta-Dataset itself, from TensorFlow Datasets in `--data_dir` (None for its default folder) and from
folders of class folders:

    --benchmark=meta_dataset --specs=dataset_specs --data_dir=tensorflow_datasets \\
        --folder=aircraft=/data/aircraft --folder=fungi=/data/fungi \\
        --folder=traffic_sign=/data/signs

Only the domains that a command needs have to be there. `--benchmark=five_domains` are a few classes
of the domains that ship with the package, which `--smoke` takes.
"""

import pathlib

from absl import app, flags

from keras_univrep import datasets

# The largest domain stands where the paper has ImageNet.
TRUNKS = {
    "meta_local": "mini_imagenet",
    "meta_dataset": "ilsvrc_2012",
    "five_domains": "omniglot",
}
SEEN = {
    "meta_local": (
        "mini_imagenet", "omniglot28", "quickdraw8", "dtd10", "flowers17", "cub10", "cars196",
    ),
    "meta_dataset": (
        "ilsvrc_2012", "omniglot", "aircraft", "cu_birds", "dtd", "quickdraw", "fungi",
        "vgg_flower",
    ),
    "five_domains": ("omniglot", "quickdraw", "signdigits"),
}  # fmt: skip

# Data
BENCHMARK = flags.DEFINE_enum("benchmark", "meta_local", list(TRUNKS), "Which domains.")
DATA = flags.DEFINE_string(
    "data_dir", None, "Folder of meta_local's sets; of TensorFlow Datasets for meta_dataset."
)
SPECS = flags.DEFINE_string(
    "specs", None, "Folder or zip archive of meta_dataset's official specifications."
)
FOLDERS = flags.DEFINE_multi_string(
    "folder", [], "NAME=FOLDER of class folders, for a domain of meta_dataset; may repeat."
)
MOST = flags.DEFINE_integer("images_per_class", None, "Most images of a class, of meta_dataset.")
DOWNLOAD = flags.DEFINE_boolean("download", False, "Whether to download what meta_dataset lacks.")
CACHE = flags.DEFINE_string("cache_dir", None, "Folder of the resized images.")


def benchmark(smoke=False):
    """Returns the name of the benchmark; a smoke run without images takes the package's."""
    if smoke and DATA.value is None and not FOLDERS.value:
        return "five_domains"
    return BENCHMARK.value


def open_domains(name, size, names=None):
    """Returns the `MetaDomains` of a benchmark: all of them, or those whose names are given."""
    if name == "five_domains":
        return five_domains()
    names = None if names is None else list(dict.fromkeys(names))
    if name == "meta_local":
        return datasets.meta_local(DATA.value, size, names, CACHE.value)
    return datasets.meta_dataset(
        names, SPECS.value, DATA.value, read_folders(FOLDERS.value), size, MOST.value,
        DOWNLOAD.value, CACHE.value,
    )  # fmt: skip


def read_folders(pairs):
    """Returns what `--folder` gave as a dict of domain to folder."""
    found = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not equals or not name or name in found:
            raise app.UsageError(
                f"--folder must be NAME=FOLDER, each name once. Received: --folder={pair}."
            )
        found[name] = pathlib.Path(folder)
    return found


def five_domains():
    """Returns a few classes of the domains that ship with the package; two of them are seen."""
    found = {
        name: datasets.with_classes(domain, domain.class_names[:20])
        for name, domain in datasets.benchmark().items()
    }
    seen = {name: found[name] for name in ("quickdraw", "signdigits")}
    return datasets.MetaDomains(train=seen, validation=seen, test=found)
