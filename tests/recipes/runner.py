"""Runs recipes as users do."""

import functools
import os
import pathlib
import subprocess
import sys

from absl import app

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"


def runner(recipe):
    """A function of a folder and flags that runs a recipe's smoke, and returns its process."""
    return functools.partial(_run, recipe)


def _run(recipe, folder, *flags, must_succeed=False):
    command = [sys.executable, str(RECIPES / f"{recipe}.py"), f"--output_dir={folder}", "--smoke"]
    process = subprocess.run(
        [*command, *flags], capture_output=True, text=True, env=os.environ, check=False
    )
    assert not must_succeed or process.returncode == 0, process.stderr[-3000:]
    return process


def refuser(recipe, kind=app.UsageError):
    """A function of a folder and flags that returns what a recipe's smoke says against them."""
    return functools.partial(_refuse, recipe, kind)


def _refuse(recipe, kind, folder, *flags):
    process = _run(recipe, folder, *flags)
    assert process.returncode != 0
    # A wrong flag is answered by how to use the program, without a traceback.
    assert ("Traceback" in process.stderr) == (kind is not app.UsageError), process.stderr[-3000:]
    return process.stdout + process.stderr
