"""`downstream_local` opens sets that no local source is of."""

import os
import pathlib

import numpy as np
import pytest

from keras_univrep.datasets import downstream_local
from keras_univrep.datasets.downstream_local import DOWNSTREAM
from tests.datasets.local_sets import pixels, write_local_sets, write_meta_sets, write_npz

REAL = pathlib.Path(os.environ.get("KERAS_UNIVREP_DATA") or "absent")
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("sets")
    write_local_sets(root / "one")
    (root / "one/cifar100/cifar100.npz").unlink()
    (root / "one/cifar100").rmdir()
    write_meta_sets(root / "one")
    for file, shape in (("mnist/mnist.npz", (28, 28)), ("cifar10/cifar10.npz", (32, 32, 3))):
        write_npz(
            root / "one" / file,
            class_names=np.array(["u", "v"]),
            x_train=pixels(20, *shape),
            y_train=(np.arange(20) % 2).astype("uint8"),
            x_test=pixels(4, *shape),
            y_test=(np.arange(4) % 2).astype("uint8"),
        )
    return root / "one"


def test_all_sets_have_three_splits_of_all_classes(folder: pathlib.Path) -> None:
    names = [name for name in DOWNSTREAM if name not in ("gtsrb", "ucf101_subset")]
    domains = downstream_local(folder, 8, names, folder / "cache")
    assert list(domains) == names
    for domain in domains.values():
        for split in ("train", "test"):
            assert np.unique(domain.arrays(split)[1]).tolist() == list(range(domain.num_classes))
        rows = [image.tobytes() for split in SPLITS for image in domain.arrays(split)[0]]
        assert len(set(rows)) == len(rows) and domain.image_shape == (8, 8, 3)
    # 8 images a class.
    assert [domains["cub10"].size(split) for split in SPLITS] == [40, 20, 20]
    # Official test images.
    assert [domains["mnist"].size(split) for split in SPLITS] == [16, 4, 4]
    assert not domains["mnist"].flip and domains["cifar10"].flip


def test_wrong_names_are_refused(folder: pathlib.Path) -> None:
    for names in (["cifar100"], [], "mnist"):
        with pytest.raises(ValueError, match="`names` must hold some of"):
            downstream_local(folder, names=names)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="KERAS_UNIVREP_DATA"):
        downstream_local(folder / "none")


@pytest.mark.skipif(not (REAL / "cub10").is_dir(), reason="KERAS_UNIVREP_DATA has no cub10")
def test_the_real_cub10_has_its_sizes(tmp_path: pathlib.Path) -> None:
    domain = downstream_local(REAL, 16, ["cub10"], tmp_path)["cub10"]
    assert [domain.size(split) for split in SPLITS] == [177, 58, 58]
