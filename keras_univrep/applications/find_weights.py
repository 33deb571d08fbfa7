"""Where a file of trained weights is."""

import hashlib
import os
import pathlib
import tempfile

from keras_univrep.applications import weights_registry
from keras_univrep.applications._download import download
from keras_univrep.applications.find_entry import find_entry
from keras_univrep.applications.weights_entry import WeightsEntry


def find_weights(name: str, constructor: str | None = None) -> tuple[WeightsEntry, pathlib.Path]:
    """Returns the entry and the checked file of a set of weights.

    The file is looked for in the user's cache, `keras_univrep/weights` in KERAS_HOME or `~/.keras`,
    then in the package, and then fetched from its address into the cache. Several processes may do
    so at once.

    Args:
        name: A name that `list_weights` knows, or an alias of it.
        constructor: The constructor that the weights must be made for; any by default.

    Returns:
        The entry, and the path of its file.

    Raises:
        ValueError: If the name is unknown, the file is altered, or it is nowhere. An altered file
            of the cache is removed.
        OSError: If the file cannot be fetched.

    Example:
        >>> from keras_univrep.applications import find_weights
        >>> entry, path = find_weights("demo")
        >>> entry.name, path.name
        ('five_domains', 'five_domains.weights.h5')
    """
    entry = find_entry(name, constructor)
    cached = cache_folder() / entry.file
    found = _checksum_if_there(cached)
    if found is not None:
        if found != entry.sha256 and _remove_altered(cached, entry.sha256):
            raise ValueError(
                f"{_must(entry)}. Received: {found} for {cached}, which was altered or cut off, "
                "and has been removed. Ask for the weights again."
            )
        return entry, cached
    shipped = weights_registry.FOLDER / entry.file
    if shipped.exists():
        if checksum(shipped) != entry.sha256:
            raise ValueError(
                f"{_must(entry)}. Received: {checksum(shipped)} for {shipped}. Install the package "
                "again."
            )
        return entry, shipped
    if not entry.url:
        raise ValueError(
            f"{_must(entry)}. Received: no file at {shipped}. Install the package again."
        )
    download(entry.url, cached, entry.sha256, entry.size)
    return entry, cached


def cache_folder() -> pathlib.Path:
    """The folder of fetched weights."""
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    return pathlib.Path(home) / "keras_univrep" / "weights"


def checksum(path: pathlib.Path) -> str:
    """SHA-256 of a file, in 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum_if_there(path: pathlib.Path) -> str | None:
    try:
        return checksum(path)
    except FileNotFoundError:
        return None


def _remove_altered(path: pathlib.Path, sha256: str) -> bool:
    """Removes a file that was seen to be altered, unless another process has mended it since.

    Between the look and the removal the file may be removed, or replaced by a good one. So it is
    first moved to where nobody else is, looked at again there, and brought back if it is good.
    """
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        aside = pathlib.Path(folder) / path.name
        try:
            os.replace(path, aside)
        except FileNotFoundError:
            return True
        if checksum(aside) != sha256:
            return True
        os.replace(aside, path)
        return False


def _must(entry: WeightsEntry) -> str:
    return f"The file of weights {entry.name!r} must have SHA-256 {entry.sha256}"
