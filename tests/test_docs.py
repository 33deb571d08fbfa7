"""The documentation's site is built without a warning."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

DOCS = pathlib.Path(__file__).parents[1] / "docs"

pytest.importorskip("sphinx")


@pytest.mark.slow
def test_every_page_is_written_and_linked(tmp_path):
    folder = tmp_path / "docs"
    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns("_build", "api", "equations.md"))
    shutil.copy(DOCS.parent / "README.md", tmp_path)
    options = {"env": os.environ, "capture_output": True, "text": True, "check": False}
    made = subprocess.run([sys.executable, folder / "make_pages.py"], **options)
    assert made.returncode == 0, made.stderr
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", folder, tmp_path / "html"]
    built = subprocess.run(sphinx, **options)
    assert built.returncode == 0, built.stderr
    layers = (tmp_path / "html" / "api" / "layers.html").read_text()
    assert "ParallelAdapter" in layers and "rebuffi2018" in layers
    equations = (tmp_path / "html" / "equations.html").read_text()
    assert "keras_univrep.layers.ReconciliationLayer" in equations
