"""A cache file gives back what was put in, or is made again."""

import concurrent.futures
import pathlib
import threading
from typing import BinaryIO

import numpy as np
import pytest

from keras_univrep.datasets.split_cache import read_or_make

ARRAYS = {
    "x": np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3)).astype("uint8"),
    "y": np.arange(5, dtype="int32"),
    "names": np.array(["a", "bc"]),
}


class Maker:
    """Counts how often the arrays are made."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return dict(ARRAYS)


def check(path: pathlib.Path, make: Maker) -> None:
    found = read_or_make(path, ["y", "x", "names"], make)
    for array, name in zip(found, ("y", "x", "names"), strict=True):
        np.testing.assert_array_equal(array, ARRAYS[name])
        assert array.dtype == ARRAYS[name].dtype


def test_arrays_are_made_once(tmp_path: pathlib.Path) -> None:
    make, path = Maker(), tmp_path / "new" / "set.npz"
    for _ in range(3):
        check(path, make)
    assert make.calls == 1
    assert [file.name for file in path.parent.iterdir()] == ["set.npz"]


@pytest.mark.parametrize("damage", ["cut", "emptied", "text", "another npz", "another array"])
def test_a_damaged_file_is_made_again(tmp_path: pathlib.Path, damage: str) -> None:
    make, path = Maker(), tmp_path / "set.npz"
    check(path, make)
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "emptied":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("not an archive")
    elif damage == "another npz":
        np.savez(path, other=np.zeros(3))
    else:
        with np.load(path) as file:
            checksums = file["checksums"]
        np.savez(path, **(ARRAYS | {"x": ARRAYS["x"][::-1]}), checksums=checksums)
    check(path, make)
    check(path, make)
    assert make.calls == 2
    assert [file.name for file in tmp_path.iterdir()] == ["set.npz"]


def test_no_changed_byte_gives_wrong_arrays(tmp_path: pathlib.Path) -> None:
    make, path = Maker(), tmp_path / "set.npz"
    check(path, make)
    content = bytearray(path.read_bytes())
    for position in range(0, len(content), 7):
        changed = bytearray(content)
        changed[position] ^= 0xFF
        path.write_bytes(changed)
        check(path, make)


def test_a_failure_leaves_no_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> dict[str, np.ndarray]:
        raise ValueError("no source")

    def cut(file: BinaryIO, **arrays: np.ndarray) -> None:
        file.write(b"half")
        raise OSError("no space")

    with pytest.raises(ValueError, match="no source"):
        read_or_make(tmp_path / "set.npz", ["x"], fail)
    monkeypatch.setattr(np, "savez", cut)
    with pytest.raises(OSError, match="no space"):
        read_or_make(tmp_path / "set.npz", ["x"], Maker())
    assert not list(tmp_path.iterdir())


def test_writers_that_meet_all_read_whole_arrays(tmp_path: pathlib.Path) -> None:
    barrier = threading.Barrier(4, timeout=30)
    large = np.arange(200_000)

    def make() -> dict[str, np.ndarray]:
        barrier.wait()
        return {"x": large}

    def work(_: int) -> bool:
        return all((read_or_make(path, ["x"], make)[0] == large).all() for _ in range(3))

    path = tmp_path / "set.npz"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [True] * 4
    assert [file.name for file in tmp_path.iterdir()] == ["set.npz"]
