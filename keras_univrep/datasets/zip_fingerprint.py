"""Tells one content of a .zip or .npz file from another without reading all of it."""

import hashlib
import pathlib
import zipfile


def zip_fingerprint(path: pathlib.Path, name: str) -> str:
    """Sums up the content of a .zip or .npz file from its directory, which has a CRC a member.

    Args:
        path: The file.
        name: Name of the set that it holds, for the error.

    Returns:
        Hexadecimal digest.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the file is of another kind.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"The file of '{name}' must be in the folder of the image sets. Received: no file "
            f"'{path}'. Put it there, or leave the set out with `names=`."
        )
    try:
        with zipfile.ZipFile(path) as file:
            members = [(m.filename, m.CRC, m.file_size) for m in file.infolist()]
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"'{path}' must be a .zip or .npz file. Received: {error}. Fetch it again."
        ) from error
    return hashlib.sha256(repr(members).encode()).hexdigest()
