"""The settings that a resumable run was begun with."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any


def keep_settings(folder: str | pathlib.Path, settings: Mapping[str, Any]) -> None:
    """Writes what a folder's run is made with, or refuses to go on with anything else.

    A run that is resumed with other settings would mix two experiments in one result.

    Args:
        folder: Folder of the run; made where it is missing. The file is `settings.json`.
        settings: What JSON can hold, by name.

    Raises:
        ValueError: The folder holds a run of other settings.

    Example:
        >>> import tempfile
        >>> from keras_univrep.evaluation import keep_settings
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     keep_settings(folder, {"steps": 100})
        ...     keep_settings(folder, {"steps": 100})
    """
    path = pathlib.Path(folder) / "settings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dict(settings), sort_keys=True)
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.write_text(text)
        partial.replace(path)
    elif (kept := json.loads(path.read_text())) != json.loads(text):
        differ = sorted(
            name for name in {*kept, *settings} if kept.get(name) != json.loads(text).get(name)
        )
        raise ValueError(
            f"{path.parent} must hold a run of the same settings. Received: other values of "
            f"{', '.join(differ)}: {text}, where the run was begun with {path.read_text()}. "
            "Choose another folder, or remove this one."
        )
