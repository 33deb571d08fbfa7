"""Writes tiny image sets in the layout that `decathlon_local` reads."""

import io
import pathlib
import zipfile

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


def pixels(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape).astype("uint8")


def write_zip(path: pathlib.Path, images: dict[str, np.ndarray], **texts: str) -> None:
    """Writes images (losslessly, whatever their suffix says) and texts into a zip file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, image in images.items():
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            file.writestr(name, buffer.getvalue())
        for name, text in texts.items():
            file.writestr(name.replace("__", "."), text)


def write_npz(path: pathlib.Path, **arrays: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def write_local_sets(folder: pathlib.Path) -> pathlib.Path:
    """Writes all nine sets, a few images each."""
    tiny = {
        f"{split}/n0{wnid}/{i}.JPEG": pixels(64, 64, 3)
        for wnid in (1, 2, 3)
        for split, count in (("train", 10), ("val", 2))
        for i in range(count)
    }
    tiny["train/n01/0.JPEG"] = pixels(64, 64)  # A few of the real ones are grey.
    write_zip(
        folder / "tiny_imagenet/tiny_imagenet_30_8.zip",
        tiny,
        classes__tsv="n01\tgoldfish, gold\nn02\tnewt\nn03\tfrog\n",
    )
    write_npz(
        folder / "cifar100/cifar100.npz",
        class_names=np.array(["apple", "bear"]),
        x_train=pixels(20, 32, 32, 3),
        y_train=np.tile([0, 1], 10).astype("uint8"),
        x_test=pixels(4, 32, 32, 3),
        y_test=np.array([1, 0, 1, 0], "uint8"),
    )
    write_npz(
        folder / "gtsrb/gtsrb32.npz",
        x_train=pixels(30, 32, 32, 3),
        y_train=np.repeat([0, 1, 2], 10).astype("uint8"),
        x_test=pixels(6, 32, 32, 3),
        y_test=np.repeat([0, 1, 2], 2).astype("uint8"),
    )
    write_npz(
        folder / "daimlerpedcls/daimlerpedcls.npz",
        class_names=np.array(["nonped", "ped"]),
        x_train=pixels(12, 36, 18),
        y_train=np.tile([0, 1], 6).astype("uint8"),
        set_train=np.repeat([0, 1, 2], 4).astype("uint8"),
        x_test=pixels(4, 36, 18),
        y_test=np.array([0, 0, 1, 1], "uint8"),
        set_test=np.array([0, 1, 0, 1], "uint8"),
    )
    write_zip(
        folder / "dtd10/dtd10_84.zip",
        {f"{c}/{c}_{i}.jpg": pixels(84, 84, 3) for c in ("banded", "woven") for i in range(6)},
    )
    write_zip(
        folder / "flowers17/flowers17_84.zip",
        {
            f"{n:02d}_{c}/image_{i}.jpg": pixels(84, 84, 3)
            for n, c in enumerate(("daffodil", "pansy"))
            for i in range(8)
        },
    )
    write_npz(
        folder / "omniglot28/omniglot28.npz",
        packed=pixels(3, 20, 98),
        alphabet=np.array(["Greek", "Greek", "Latin"]),
        character=np.array(["character01", "character02", "character01"]),
        is_evaluation=np.array([False, False, True]),
    )
    write_npz(
        folder / "chars74k36/chars74k36_32.npz",
        x=pixels(15, 32, 32, 3),
        y=np.repeat([0, 1], [10, 5]).astype("uint8"),
        class_names=np.array(["0", "A"]),
    )
    write_zip(
        folder / "ucf101_subset/ucf101_6cls_84.zip",
        {
            f"{kind}/{split}/{c}/v_{c}_g{group:02d}_c{clip:02d}.jpg": pixels(84, 84, 3)
            for kind in ("dynamic", "frame")
            for c in ("Archery", "Surfing")
            for split, groups in (("test", range(1, 4)), ("train", range(8, 14)))
            for group in groups
            for clip in (1, 2)
        },
        README__txt="Split = official split 1.",
    )
    return folder


def write_meta_sets(folder: pathlib.Path) -> pathlib.Path:
    """Writes all twelve sets of `meta_local`, a few images of few classes each."""
    write_zip(
        folder / "mini_imagenet/mini_imagenet84_40.zip",
        {
            f"{split}/n{first + label:02d}/{i}.jpg": pixels(12, 12, 3)
            for split, first in (("train", 10), ("val", 20), ("test", 0))
            for label in range(6)
            for i in range(4)
        },
    )
    # Seven background alphabets, the first two of seven characters; two of the evaluation half.
    alphabets = [f"Bg{number}" for number in range(7)] + ["Ev0", "Ev1"]
    counts = [7, 7, 5, 5, 5, 6, 5, 5, 6]
    write_npz(
        folder / "omniglot28/omniglot28.npz",
        packed=pixels(sum(counts), 4, 98),
        alphabet=np.repeat(alphabets, counts),
        character=np.array([f"character{i:02d}" for count in counts for i in range(count)]),
        is_evaluation=np.repeat([False] * 7 + [True] * 2, counts),
    )
    write_npz(
        folder / "quickdraw8/quickdraw.npz",
        x=pixels(8, 10, 28, 28),
        class_names=np.array(list("abcdefgh")),
    )
    for path, label in {
        "dtd10/dtd10_84.zip": "texture{}",
        "flowers17/flowers17_84.zip": "{:02d}_flower{}",
        "cub10/cub10_84.zip": "{:03d}.bird{}",
        "cars196_train/cars196_84_10.zip": "{:03d}",
        "eurosat/eurosat64_125.zip": "land{}",
    }.items():
        count = 17 if path[:2] in ("fl", "ca") else 10
        texts = {}
        if path.startswith("cars"):
            texts["classes__tsv"] = "".join(f"{i:03d}\tcar {i}\n" for i in range(count))
        write_zip(
            folder / path,
            {
                f"{label.format(number, number)}/{i}.jpg": pixels(12, 12, 3)
                for number in range(count)
                for i in range(8)
            },
            **texts,
        )
    for name, grey in (("gtsrb/gtsrb32", 0), ("mnist/mnist", 1), ("cifar10/cifar10", 0)):
        shape = (28, 28) if grey else (32, 32, 3)
        names = {} if "gtsrb" in name else {"class_names": np.array(list("uvwxyz"))}
        write_npz(
            folder / f"{name}.npz",
            x_train=pixels(6, *shape),
            y_train=np.arange(6).astype("uint8"),
            x_test=pixels(18, *shape),
            y_test=np.tile(np.arange(6), 3).astype("uint8"),
            **names,
        )
    (folder / "cifar100").mkdir()
    content = (folder / "cifar10/cifar10.npz").read_bytes()
    (folder / "cifar100/cifar100.npz").write_bytes(content)
    return folder
