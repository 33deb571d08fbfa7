"""Finds image files of which another is a copy."""

import hashlib
import pathlib
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping

Files = list[pathlib.Path]


def file_digests(files: Iterable[pathlib.Path]) -> dict[pathlib.Path, bytes]:
    """Maps each file to bytes that it shares with its copies alone: files of the same content.

    A file whose size no other has is not read.
    """
    sizes = {file: file.stat().st_size for file in files}
    often = Counter(sizes.values())
    return {
        file: b"%d " % size
        + (hashlib.sha256(file.read_bytes()).digest() if often[size] > 1 else b"")
        for file, size in sizes.items()
    }


def check_copies(
    classes: Iterable[tuple[str, Files]], digests: Mapping[pathlib.Path, bytes]
) -> None:
    """Refuses a file whose copy is in a folder of another class.

    Raises:
        ValueError: If there is one.
    """
    known: dict[bytes, tuple[str, pathlib.Path]] = {}
    wrong = []
    for name, group in classes:
        for file in group:
            other, first = known.setdefault(digests[file], (name, file))
            if other != name:
                wrong.append(f"'{first}' and '{file}'")
    if wrong:
        raise ValueError(
            f"An image must be in one class. Received: {len(wrong)} copies in another class, such "
            f"as {', '.join(wrong[:3])}. Remove the files of the wrong class."
        )


def without_copies(classes: Mapping[str, Files], stacklevel: int = 2) -> dict[str, Files]:
    """Keeps the first of the copies in each class, and warns of what is left out.

    Args:
        classes: Dict of class to its files.
        stacklevel: Of the warning, as for `warnings.warn`; 2 names the caller.

    Returns:
        Dict of class to the files that are left, in their order.

    Raises:
        ValueError: If a file has a copy in another class.
    """
    digests = file_digests(file for group in classes.values() for file in group)
    check_copies(classes.items(), digests)
    firsts = {digests[file]: file for group in classes.values() for file in reversed(group)}
    kept = {
        name: [file for file in group if firsts[digests[file]] == file]
        for name, group in classes.items()
    }
    every = set().union(*kept.values())
    dropped = [file for group in classes.values() for file in group if file not in every]
    warn_of_copies(dropped, "of which its class has a copy", stacklevel + 1)
    return kept


def warn_of_copies(dropped: Files, why: str, stacklevel: int = 2) -> None:
    """Warns of files that are left out, if there are any."""
    if dropped:
        names = ", ".join(f"'{file}'" for file in dropped[:3])
        warnings.warn(
            f"{len(dropped)} images are left out, {why}, such as {names}. Remove the files.",
            stacklevel=stacklevel,
        )
