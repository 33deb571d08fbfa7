"""Prepared arrays are written once and mapped."""

import pathlib
from collections.abc import Iterator

import numpy as np
import pytest

from keras_univrep.datasets.mapped_arrays import map_or_make

EXAMPLES = [{"x": np.full((2, 3), i, "uint8"), "y": np.array(i, "int32")} for i in range(4)]


def fail() -> list[dict[str, np.ndarray]]:
    raise RuntimeError("made again")


def test_arrays_are_made_once_and_are_read_only(tmp_path: pathlib.Path) -> None:
    made = map_or_make(tmp_path / "a", lambda: EXAMPLES)
    for arrays in (made, map_or_make(tmp_path / "a", fail)):
        np.testing.assert_array_equal(arrays["x"], np.stack([e["x"] for e in EXAMPLES]))
        assert arrays["y"].tolist() == [0, 1, 2, 3] and arrays["y"].dtype == np.int32
        assert type(arrays["x"]) is np.ndarray and not arrays["x"].flags.writeable


def test_a_reader_that_fails_leaves_nothing(tmp_path: pathlib.Path) -> None:
    def broken() -> Iterator[dict[str, np.ndarray]]:
        yield EXAMPLES[0]
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        map_or_make(tmp_path / "a", broken)
    assert not list(tmp_path.iterdir())
    assert len(map_or_make(tmp_path / "a", lambda: EXAMPLES)["x"]) == 4


def test_cut_files_and_unlike_examples_are_refused(tmp_path: pathlib.Path) -> None:
    map_or_make(tmp_path / "a", lambda: EXAMPLES)
    (tmp_path / "a" / "x.bin").write_bytes(b"123")
    with pytest.raises(ValueError, match="must hold 24 bytes. Received: 3. Remove"):
        map_or_make(tmp_path / "a", fail)
    with pytest.raises(ValueError, match="There must be an example"):
        map_or_make(tmp_path / "b", list)
    other = {"x": np.zeros((2, 4), "uint8"), "y": EXAMPLES[0]["y"]}
    with pytest.raises(ValueError, match=r"must be alike.*in example 1"):
        map_or_make(tmp_path / "c", lambda: [EXAMPLES[0], other])
