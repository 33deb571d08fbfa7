"""What a teacher answers to a fixed set of images, computed once."""

import pathlib

import numpy as np

FILES = {"features": "features.npy", "logits": "logits.npy"}


class TeacherCache:
    """Features and logits of a teacher, one row for each numbered sample.

    A teacher is frozen, so it answers the same to the same pixels at every step: in place of its
    forward pass a step then costs a look-up, whatever the teacher's size. `cache_teacher` fills it,
    `datasets.FixedViews` numbers images and their fixed augmentations, and
    `datasets.taught_pipeline` puts the rows beside the images.

    Args:
        features: Features, (samples, channels), of any floating dtype; may be memory-mapped.
        logits: Logits, (samples, classes), likewise.

    Raises:
        ValueError: If the arrays are not matrices of as many rows.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.models import TeacherCache
        >>> cache = TeacherCache(np.zeros((100, 64), "float16"), np.zeros((100, 10), "float16"))
        >>> rows = cache.take(np.array([3, 1, 3]))
        >>> len(cache), rows["features"].shape, str(rows["logits"].dtype)
        (100, (3, 64), 'float32')
    """

    def __init__(self, features: np.ndarray, logits: np.ndarray) -> None:
        if np.ndim(features) != 2 or np.ndim(logits) != 2 or len(features) != len(logits):
            raise ValueError(
                "`features` and `logits` must be matrices with one row a sample. Received: shapes "
                f"{np.shape(features)} and {np.shape(logits)}. Pool feature maps first."
            )
        self.features = features
        self.logits = logits

    def __len__(self) -> int:
        return len(self.features)

    @property
    def feature_size(self) -> int:
        """Channels of the features."""
        return self.features.shape[1]

    @property
    def num_classes(self) -> int:
        """Number of the logits."""
        return self.logits.shape[1]

    def take(self, samples: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the rows of samples.

        Args:
            samples: Their numbers, integers of shape (batch,).

        Returns:
            `{"features": (batch, channels), "logits": (batch, classes)}`, float32.
        """
        return {
            "features": np.asarray(self.features[samples], "float32"),
            "logits": np.asarray(self.logits[samples], "float32"),
        }

    @classmethod
    def open(cls, directory: str | pathlib.Path) -> "TeacherCache":
        """Opens what `cache_teacher` left in a folder; rows are read when they are needed.

        Args:
            directory: The folder.

        Returns:
            A `TeacherCache` of memory-mapped arrays.

        Raises:
            ValueError: If the folder holds no whole cache.
        """
        paths = {name: pathlib.Path(directory) / file for name, file in FILES.items()}
        missing = [str(path) for path in paths.values() if not path.exists()]
        if missing:
            raise ValueError(
                f"`directory` must hold {sorted(FILES.values())}. Received: {directory}, where "
                f"{missing} is missing. Make it with `cache_teacher(..., directory=...)`."
            )
        return cls(**{name: np.load(path, mmap_mode="r") for name, path in paths.items()})
