"""The trained weights that ship with the package, and what is known of each."""

import hashlib
import json
import pathlib
from typing import Any

FOLDER = pathlib.Path(__file__).parent / "weights"


def list_weights() -> dict[str, dict[str, Any]]:
    """Returns what is known of each set of trained weights, by name.

    Returns:
        For each name: `file`, `sha256`, `architecture` (arguments of the constructor),
        `num_classes` by domain, `measured` (test accuracy of each domain, in per cent), `recipe`
        (the command), `seed` and `licence`.

    Example:
        >>> from keras_univrep.applications import list_weights
        >>> "five_domains" in list_weights()
        True
    """
    return json.loads((FOLDER / "registry.json").read_text())


def find_weights(name: str) -> tuple[dict[str, Any], pathlib.Path]:
    """Returns the entry and the checked file of a set of weights.

    Args:
        name: A name that `list_weights` knows.

    Returns:
        The entry, and the path of its file.

    Raises:
        ValueError: If the name is unknown, or the file is missing or altered.
    """
    known = list_weights()
    if name not in known:
        raise ValueError(
            f"`weights` must be None, the path of a .weights.h5 file, or one of {sorted(known)}. "
            f"Received: weights={name!r}."
        )
    entry = known[name]
    path = FOLDER / entry["file"]
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "no file"
    if found != entry["sha256"]:
        raise ValueError(
            f"The file of weights {name!r} must have SHA-256 {entry['sha256']}. Received: {found} "
            f"for {path}. Install the package again."
        )
    return entry, path
