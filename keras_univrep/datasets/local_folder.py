"""The folder of the user's image sets."""

import os
import pathlib

VARIABLE = "KERAS_UNIVREP_DATA"


def local_folder(
    data_dir: str | pathlib.Path | None, function: str, way_out: str = ""
) -> pathlib.Path:
    """Returns the folder of the user's image sets.

    Args:
        data_dir: The folder; None for the environment variable KERAS_UNIVREP_DATA.
        function: Name of what opens the sets, whose docstring lists them.
        way_out: What else one can do, for the error.

    Returns:
        Path of a folder that there is.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    given = os.environ.get(VARIABLE) if data_dir is None else data_dir
    if not given or not pathlib.Path(given).is_dir():
        raise FileNotFoundError(
            f"`data_dir`, or the environment variable {VARIABLE}, must be the folder of the "
            f"image sets. Received: data_dir={data_dir!r}, {VARIABLE}="
            f"{os.environ.get(VARIABLE)!r}. Put each set there as the docstring of "
            f"`{function}` lists them, such as 'cifar100/cifar100.npz'; the sources are in "
            f"`Domain.source`.{way_out and ' '}{way_out}"
        )
    return pathlib.Path(given)
