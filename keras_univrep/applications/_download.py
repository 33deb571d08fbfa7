"""Files from the network: whole, checked, with a progress bar."""

import hashlib
import pathlib
import sys
import urllib.request

import keras

from keras_univrep.applications._whole_file import whole_file

BLOCK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte


def download(url: str, path: pathlib.Path, sha256: str, size: int) -> None:
    """Fetches a file, which is at `path` only once all of it has come and is what it should be.

    `keras.utils.get_file` writes where the file is to be, so that a second process finds half of
    it.
    """
    digest, done = hashlib.sha256(), 0
    # A log that nobody watches gets no bar.
    bar = keras.utils.Progbar(size, verbose=1 if sys.stderr.isatty() else 0, unit_name="byte")
    with whole_file(path) as part:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as source, part.open("wb") as target:
            while block := source.read(BLOCK):
                target.write(block)
                digest.update(block)
                done += len(block)
                if done > size:
                    break
                bar.update(done, finalize=done == size)
        if done != size or digest.hexdigest() != sha256:
            raise ValueError(
                f"The file at {url} must have {size} bytes and SHA-256 {sha256}. Received: "
                f"{'more than ' * (done > size)}{min(done, size)} bytes, {digest.hexdigest()}. "
                "Nothing was kept. Try again; if it stays so, the file there is not the one that "
                "this version of the package knows."
            )
