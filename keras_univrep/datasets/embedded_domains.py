"""Lists the domains that ship with the package."""

import json
import pathlib
from typing import Any

_DIRECTORY = pathlib.Path(__file__).parent / "embedded"


def embedded_domains() -> list[str]:
    """Lists the domains that ship with the package, in the order of the "five_domains" benchmark.

    Returns:
        Names for `load_domain`.

    Example:

    >>> embedded_domains()
    ['eurosat', 'letters', 'omniglot', 'quickdraw', 'signdigits']
    """
    return list(read_manifest(None)[1])


def read_manifest(directory: str | pathlib.Path | None) -> tuple[pathlib.Path, dict[str, Any]]:
    """Reads `manifest.json`: what each embedded file holds, its SHA-256, splits, statistics and
    licence.

    Args:
        directory: Folder of the manifest; None for the package's own.

    Returns:
        The folder, and a dict of domain to its entry.

    Raises:
        FileNotFoundError: If there is no manifest.
    """
    directory = _DIRECTORY if directory is None else pathlib.Path(directory)
    path = directory / "manifest.json"
    if not path.is_file():
        raise FileNotFoundError(
            "The folder of embedded domains must hold 'manifest.json'. Received: "
            f"directory='{directory}', which has none. Install the package again (`pip install "
            "--force-reinstall keras_univrep`) or make the files with `recipes/build_embedded.py`."
        )
    return directory, json.loads(path.read_text(encoding="utf-8"))
