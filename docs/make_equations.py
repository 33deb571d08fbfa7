"""Writes docs/equations.md: every equation of the library, with the class that computes it.

make docs
"""

import importlib
import inspect
import pathlib
import pkgutil
import re

import keras_univrep

SECTION = re.compile(r"^Equation:\n(.*?)(?=^[A-Z][a-z ]+:|\Z)", re.M | re.S)


def equations():
    """Yields (qualified name, first line, equation) of every public class and function."""
    seen = set()
    for module in pkgutil.walk_packages(keras_univrep.__path__, "keras_univrep."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if name.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
                continue
            if value in seen or not value.__module__.startswith("keras_univrep"):
                continue
            found = SECTION.search(inspect.getdoc(value) or "")
            if found:
                seen.add(value)
                first = inspect.getdoc(value).splitlines()[0]
                yield f"{value.__module__}.{name}", first, inspect.cleandoc("\n" + found.group(1))


def main():
    lines = ["# Equations\n", "Made from the docstrings by `make docs`.\n"]
    for name, first, equation in sorted(equations()):
        lines += [f"## {name}\n", f"{first}\n", equation, ""]
    pathlib.Path(__file__).with_name("equations.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
