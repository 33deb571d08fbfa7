"""Files that are there whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

DAY = 86400.0  # seconds


@contextlib.contextmanager
def whole_file(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a new path to write to, which becomes `path` if no error comes, and else is removed.

    The new path is in a folder of its own beside `path`, has its name, and so its suffix. A process
    that is killed leaves this folder, `path` being as it was, and who writes a day later removes
    it; processes that write at once do not meet.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(".partial-*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > DAY:
                shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder:
        part = pathlib.Path(folder) / path.name
        yield part
        os.replace(part, path)
