"""The file in which a recipe leaves its result."""

import importlib.metadata
import json
import pathlib
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import keras

PACKAGES = ("keras_univrep", "keras", "tensorflow", "jax", "torch", "numpy")


def write_results(
    path: str | pathlib.Path,
    table: Sequence[Mapping[str, Any]],
    seed: int,
    seconds: float,
    **extra: Any,
) -> dict[str, Any]:
    """Writes a result with what is needed to get it again.

    Args:
        path: The JSON file; written whole or not at all.
        table: Rows, `{"method": name, "<column>": number, ...}`.
        seed: Seed of the run.
        seconds: How long the run took.
        **extra: Further entries, such as the settings.

    Returns:
        What was written: `table`, `seed`, `commit`, `backend`, `versions`, `seconds` and `extra`.

    Example:
        >>> import tempfile
        >>> from keras_univrep.evaluation import write_results
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     result = write_results(f"{folder}/results.json", [{"method": "MDL"}], 0, 1.5)
        >>> result["table"]
        [{'method': 'MDL'}]
    """
    result = {
        "table": [dict(row) for row in table],
        "seed": seed,
        "commit": _commit(),
        "backend": keras.backend.backend(),
        "versions": _versions(),
        "seconds": round(seconds, 1),
        **extra,
    }
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=2) + "\n")
    partial.replace(path)
    return result


def _commit() -> str | None:
    folder = pathlib.Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None  # An installed package is in no checkout.


def _versions() -> dict[str, str]:
    versions = {}
    for package in PACKAGES:
        names = (package, "tensorflow-cpu") if package == "tensorflow" else (package,)
        for name in names:
            try:
                versions[package] = importlib.metadata.version(name)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return versions
