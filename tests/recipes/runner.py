"""Runs recipes as users do, in a process of their own; what they refuse, in this one."""

import functools
import importlib
import os
import pathlib
import subprocess
import sys

import pytest
from absl import app, flags

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
    """A function of a folder and flags that returns what a recipe's smoke says against them.

    The start of a process takes longer than all that comes before a refusal.
    """
    return functools.partial(_refuse, recipe, kind)


def _refuse(recipe, kind, folder, *given):
    others, modules = _flags_set_aside(), set(sys.modules)
    sys.path.insert(0, str(RECIPES))
    try:
        main = importlib.import_module(recipe).main
        flags.FLAGS([recipe, f"--output_dir={folder}", "--smoke", *given])
        with pytest.raises(kind) as refusal:
            main([recipe])
        return str(refusal.value)
    finally:
        sys.path.remove(str(RECIPES))
        _flags_set_aside()
        flags.FLAGS.append_flag_values(others)
        for name in set(sys.modules) - modules:
            if getattr(sys.modules[name], "__file__", None) == str(RECIPES / f"{name}.py"):
                del sys.modules[name]


def _flags_set_aside():
    """Takes all flags out of absl's, as other recipes have flags of the same names."""
    found = flags.FlagValues()
    found.append_flag_values(flags.FLAGS)
    flags.FLAGS.remove_flag_values(found)
    return found
