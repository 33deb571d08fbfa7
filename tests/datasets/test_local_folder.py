"""The folder of the user's sets is the argument or the environment's."""

from __future__ import annotations

import pathlib

import pytest

from keras_univrep.datasets.local_folder import VARIABLE, local_folder


def test_the_argument_goes_before_the_environment(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other"))
    assert local_folder(tmp_path, "meta_local") == tmp_path
    assert local_folder(None, "meta_local") == tmp_path / "other"


def test_an_error_names_the_function_and_the_way_out(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for given in (None, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match="`meta_local` lists.*Try something else"):
            local_folder(given, "meta_local", "Try something else.")
