"""The files that ship are those of the manifest, small and licensed."""

import hashlib
import pathlib

import numpy as np
import pytest

from keras_univrep.datasets import embedded_domains
from keras_univrep.datasets.embedded_domains import read_manifest

DIRECTORY, MANIFEST = read_manifest(None)


def test_names_are_in_a_fixed_order() -> None:
    assert embedded_domains() == ["eurosat", "letters", "omniglot", "quickdraw", "signdigits"]


@pytest.mark.parametrize("name", MANIFEST)
def test_files_match_the_manifest_and_hold_no_pickle(name: str) -> None:
    path = DIRECTORY / MANIFEST[name]["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == MANIFEST[name]["sha256"]
    with np.load(path, allow_pickle=False) as file:
        assert all(file[key].dtype.kind in "uiU" for key in file.files)


def test_files_take_less_than_fifteen_megabytes() -> None:
    assert sum(file.stat().st_size for file in DIRECTORY.iterdir()) < 15e6


def test_every_file_has_its_licence() -> None:
    licences = (DIRECTORY / "LICENSES.md").read_text(encoding="utf-8")
    files = {file.name for file in DIRECTORY.glob("*.npz")}
    assert files == {entry["file"] for entry in MANIFEST.values()}
    assert all(f"`{file}`" in licences for file in files)


def test_the_table_of_the_readme_is_that_of_the_manifest() -> None:
    readme = (DIRECTORY / "README.md").read_text(encoding="utf-8")
    for name, entry in MANIFEST.items():
        sizes = " / ".join(str(entry["splits"][s]) for s in ("train", "validation", "test"))
        row = next(line for line in readme.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"| {entry['num_classes']} | {sizes} |" in row
        assert row.endswith("| yes |" if entry["flip"] else "| no |")


def test_a_folder_without_manifest_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError, match="must hold 'manifest.json'"):
        read_manifest(tmp_path)
