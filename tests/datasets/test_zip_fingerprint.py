"""A fingerprint follows the content of a file, and not its name or its age."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from keras_univrep.datasets.zip_fingerprint import zip_fingerprint


def test_it_changes_with_the_content_alone(tmp_path: pathlib.Path) -> None:
    paths = [tmp_path / f"{number}.npz" for number in range(3)]
    for path, last in zip(paths, (4, 4, 5)):
        np.savez(path, x=np.array([1, 2, last]))
    first, same, other = (zip_fingerprint(path, "numbers") for path in paths)
    assert first == same != other


def test_a_missing_file_and_one_of_another_kind_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match="The file of 'numbers' must be.*Received"):
        zip_fingerprint(tmp_path / "absent.npz", "numbers")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match="must be a .zip or .npz file. Received"):
        zip_fingerprint(tmp_path / "text.npz", "numbers")
