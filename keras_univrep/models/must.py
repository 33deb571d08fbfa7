"""MuST: multi-task self-training, with labels of specialised teachers for what has none."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_univrep.models._sources import check_batch, check_heads
from keras_univrep.models.pseudo_label import KINDS, pseudo_label

Teacher: TypeAlias = keras.Model | Callable[[np.ndarray], Any]
Batch = dict[str, dict[str, Any]]


class MuST:
    """Lets the teacher of each source label the images of all other sources.

    A student, one backbone with a head for each source, is then trained on all images for all
    heads: an `XLearnerExpansion` with a single backbone, which takes the batches as they are made
    here.

    Equation:
        For the sources S_n^t = (X_n^t, Y_n^t) of he2022, section 3.1, and a teacher g_n^t of each:

            X'_n^t = all X_m^s,   Y'_n^t = Y_n^t for X_n^t itself, else pseudo_label(g_n^t(X_m^s))

        | symbol | here |
        |---|---|
        | g_n^t | `teachers[t][n]` |
        | X', Y' | what the call returns |

    Differences: he2022 (table 4) compares with multi-task self-training and says that it
        "constructs cross-task pseudo labels with task-specific teachers, creating a complete
        multi-task dataset", and that its student is one of hard sharing. It considers a single
        source, each of whose images has all labels. The rest is our reading: each label
        space has its own head, true labels are kept where there are any, and images are
        labelled batch by batch, as augmented. Label a source once, before training, by calling this
        on all of it.

    Args:
        teachers: For each source of each task, `{task: {source: teacher}}`, a trained model of
            images, or any function of NumPy images. Of boxes it must return objects: `lambda x:
            head.predict_boxes(detector(x), image_shape)`.
        kinds: Of each task, one of "classes", "segmentation", "boxes" and "depth".
        thresholds: Of each task, as for `pseudo_label`; 0.5 where there is none.
        ignore_label: Label of what no teacher is sure of. Give it to the losses too:
            `keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)`.

    Call arguments:
        x: A batch of each source, `{task: {source: images}}`, images of one size.
        y: Its labels, `{task: {source: targets}}`: int (batch,), int (batch, height, width),
            `{"boxes", "labels"}` or depths (batch, height, width, 1).

    Returns:
        `(x, y)` of the same form, NumPy, where each source has the images of all, its own first.

    Raises:
        ValueError: If sources, teachers or kinds do not belong together, or images differ in size.

    Example:
        >>> from keras_univrep.models import MuST
        >>> def sure_of_class_1(images):
        ...     return np.tile([[0.0, 9.0]], (len(images), 1))
        >>> def one_metre(images):
        ...     return np.ones((len(images), 4, 4, 1))
        >>> must = MuST(
        ...     {"classes": {"birds": sure_of_class_1}, "depth": {"rooms": one_metre}},
        ...     {"classes": "classes", "depth": "depth"},
        ... )
        >>> x = {"classes": {"birds": np.zeros((2, 4, 4, 3))},
        ...      "depth": {"rooms": np.ones((1, 4, 4, 3))}}
        >>> y = {"classes": {"birds": np.array([0, 0])}, "depth": {"rooms": np.ones((1, 4, 4, 1))}}
        >>> x, y = must(x, y)
        >>> y["classes"]["birds"].tolist(), x["depth"]["rooms"].shape
        ([0, 0, 1], (3, 4, 4, 3))

    References:
        - Ghiasi, Zoph, Cubuk, Le, Lin. Multi-task self-training for learning general
          representations. ICCV 2021.
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
    """

    def __init__(
        self,
        teachers: Mapping[str, Mapping[str, Teacher]],
        kinds: Mapping[str, str],
        thresholds: Mapping[str, float] | None = None,
        ignore_label: int = -1,
    ) -> None:
        self.sources = check_heads(teachers, "MuST")
        self.teachers = {task: dict(row) for task, row in teachers.items()}
        self.kinds = dict(kinds)
        self.thresholds = {**dict.fromkeys(self.sources, 0.5), **(thresholds or {})}
        self.ignore_label = ignore_label
        wrong = {task: kind for task, kind in self.kinds.items() if kind not in KINDS}
        if (
            wrong
            or set(self.kinds) != set(self.sources)
            or set(self.thresholds) > set(self.sources)
        ):
            raise ValueError(
                f"`kinds` must hold one of {list(KINDS)} for each of the tasks "
                f"{list(self.sources)}, and `thresholds` no others. Received: kinds={self.kinds}, "
                f"thresholds={thresholds}. Say what each task predicts."
            )

    def __call__(self, x: Any, y: Any) -> tuple[Batch, Batch]:
        check_batch(x, self.sources, "x", whole=True)
        check_batch(y, self.sources, "y", whole=True)
        keys = [(task, source) for task, names in self.sources.items() for source in names]
        images = {(t, s): np.asarray(ops.convert_to_numpy(x[t][s])) for t, s in keys}
        sizes = {"/".join(key): batch.shape[1:] for key, batch in images.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                "All sources train one backbone on joint batches, so their images must have one "
                f"size. Received: {sizes}. Resize them in the data pipeline."
            )
        new_x: Batch = {task: {} for task in self.sources}
        new_y: Batch = {task: {} for task in self.sources}
        for task, source in keys:
            others = [batch for key, batch in images.items() if key != (task, source)]
            own = keras.tree.map_structure(ops.convert_to_numpy, y[task][source])
            new_x[task][source] = np.concatenate([images[task, source], *others])
            new_y[task][source] = own
            if others:
                labels = self.label(task, source, np.concatenate(others))
                new_y[task][source] = _joined(own, labels)
        return new_x, new_y

    def label(self, task: str, source: str, images: np.ndarray) -> Any:
        """Returns the targets that a teacher gives images of any source.

        Args:
            task: One of the tasks.
            source: The source of that task whose teacher it is.
            images: (batch, height, width, channels).

        Returns:
            NumPy targets, as of `pseudo_label`.
        """
        teacher = self.teachers[task][source]
        run = teacher.predict_on_batch if isinstance(teacher, keras.Model) else teacher
        return pseudo_label(run(images), self.kinds[task], self.thresholds[task], self.ignore_label)


def _joined(own: Any, others: Any) -> Any:
    """Targets of more images; boxes with as many places for all."""
    if not isinstance(own, Mapping):
        return np.concatenate([own, others.astype(own.dtype)])
    places = max(own["labels"].shape[1], others["labels"].shape[1])
    found = {}
    for name, empty in (("boxes", 0.0), ("labels", -1)):
        parts = []
        for part in (own[name], others[name]):
            room = [(0, 0), (0, places - part.shape[1])] + [(0, 0)] * (part.ndim - 2)
            parts.append(np.pad(part, room, constant_values=empty))
        found[name] = np.concatenate(parts)
    return found
