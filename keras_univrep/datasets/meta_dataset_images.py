"""Reads the images of a domain of Meta-Dataset and its kin."""

import pathlib
from collections.abc import Iterator

from keras_univrep.datasets.meta_dataset_sources import (
    MetaDatasetSource,
    Reader,
    builder_images,
    class_folders,
    class_names,
    folder_images,
    load_tensorflow_datasets,
)


class MetaImages:
    """The images of a few-shot domain, in a folder or in TensorFlow Datasets.

    Args:
        name: Name of the domain.
        facts: Where its images are.
        folder: Folder of class folders, or None for TensorFlow Datasets.
        data_dir: Folder of TensorFlow Datasets.
        download: Whether to download and prepare what it lacks.
    """

    def __init__(
        self,
        name: str,
        facts: MetaDatasetSource,
        folder: str | pathlib.Path | None,
        data_dir: str | pathlib.Path | None,
        download: bool,
    ) -> None:
        self.name, self._facts = name, facts
        self._folder = None if folder is None else pathlib.Path(folder)
        if self._folder is not None:
            if not self._folder.is_dir():
                raise FileNotFoundError(
                    f"`folders['{name}']` must be a folder of class folders. Received: "
                    f"'{folder}', which is no folder. Check the path."
                )
            return
        if self._facts.builder is None:
            raise ValueError(
                f"`folders` must name the folder of '{name}', which TensorFlow Datasets does not "
                f"have. Received: folders without it. Fetch it from {self._facts.source}."
            )
        tfds = load_tensorflow_datasets()
        self._builder = tfds.builder(self._facts.builder, data_dir=data_dir)
        if download:
            try:
                self._builder.download_and_prepare()
            except ModuleNotFoundError as error:
                # Some releases use a module here that they do not install.
                raise ImportError(
                    "TensorFlow Datasets must have its modules to prepare a domain. Received: no "
                    f"module {error.name!r}. Run `pip install {error.name}`."
                ) from error
        self._encoded = {"image": tfds.decode.SkipDecoding()}
        self._source()

    def _source(self):  # type: ignore[no-untyped-def]
        try:
            return self._builder.as_dataset(
                split=self._facts.parts, decoders=self._encoded, shuffle_files=False
            )
        except AssertionError as error:
            raise FileNotFoundError(
                f"'{self._facts.builder}' must have been prepared in `data_dir`. Received: "
                f"data_dir={str(self._builder.data_dir)!r}, which does not hold it. Pass "
                "`download=True` once, the folder of TensorFlow Datasets that holds it, or "
                f"`folders={{'{self.name}': ...}}`."
            ) from error

    def names(self) -> list[str]:
        """Names of all classes."""
        if self._folder is None:
            return class_names(self._builder)
        return sorted(child.name for child in self._folder.iterdir() if child.is_dir())

    def identity(self, classes: list[str]) -> str:
        """Tells one release or state of a folder from another."""
        if self._folder is None:
            return str(self._builder.info.full_name)
        folders = class_folders(self._folder, classes)
        found = sorted(file for own in folders.values() for file in own.iterdir())
        stats = [(file, file.stat()) for file in found]
        return repr([(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in stats])

    def read(self, classes: list[str]) -> Iterator[tuple[int, Reader]]:
        """Positions in `classes` and images, those of other classes left out."""
        if self._folder is not None:
            yield from folder_images(self._folder, classes)
            return
        known = class_names(self._builder)
        try:
            labels = {self._facts.label(name, known): i for i, name in enumerate(classes)}
        except (ValueError, IndexError) as error:
            raise ValueError(
                f"Classes of '{self._facts.builder}' must be those of the specification of "
                f"'{self.name}'. Received: {len(known)} classes such as {known[:3]}, and {error}. "
                "Prepare the data again, or pass `folders=`."
            ) from error
        for label, image in builder_images(self._source()):
            if label in labels:
                yield labels[label], image
