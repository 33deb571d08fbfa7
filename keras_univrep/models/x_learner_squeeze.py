"""X-Learner's second stage: an expanded network distilled into one backbone."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import GuidanceLayer
from keras_univrep.models._hints import check_numbers, check_reduction, hint_loss
from keras_univrep.models._levels import Levels
from keras_univrep.models._task_gradients import total
from keras_univrep.models.x_learner_expansion import XLearnerExpansion
from keras_univrep.types import Shape, Tensor

Guided = dict[str, list[Tensor]]


@keras.saving.register_keras_serializable(package="keras_univrep")
class XLearnerSqueeze(keras.Model):
    """Distils the sub-backbones of an expanded network into one backbone of the cost of one.

    Equation:
        he2022, eq. 3, for an image of any source, and summed over `levels`:

            L = sum_t ||F^t - G^t(F')||_2^2

        | symbol | here | shape |
        |---|---|---|
        | F^t | `teacher.features(images)[t]`, frozen | (batch, height, width, channels of t) |
        | F' | a level of `student` | (batch, height', width', channels) |
        | G^t | `guidance_layers`, one for each task and level; then bilinear to F^t | as F^t |

    Differences: Not printed is of which levels F is; the default is the last, whose map the
        transferred backbone gives. Not printed either is how squares are scaled: the mean over
        an image's map keeps one learning rate for any size, and is the default;
        `reduction="sum"` is the equation as it stands. Maps of different tasks and levels differ
        by orders of magnitude, and the largest would rule either sum: `"relative"` divides each
        term by the variance of its map. All average over the batch. `calibrate` gives
        guidance layers the scale of what they aim at, which the deviation of 1 that a
        normalisation starts with may be far from, at small rates out of reach. An image
        meets the hints of all tasks, as the sum over t says, not those of its own source's task
        alone. Labels take no part: eq. 3 is the whole loss. Heads of the teacher on guided maps
        (`for_source`) tell what the student knows of its tasks.
        `tasks` with one name is the squeeze of X-Learner_r, each task's sub-backbone into a
        smaller one.

    Args:
        teacher: A trained `XLearnerExpansion`, frozen in place.
        student: A functional backbone.
        student_levels: Names of its levels, from shallow to deep, as many as the teacher has; by
            default those of the teacher's first task.
        levels: Numbers of the levels to distil, from 1 on; the last by default.
        tasks: Tasks of the teacher to distil; all by default.
        reduction: Whether the squares are averaged (`"mean"`) or summed (`"sum"`) over an image, or
            averaged and divided by the variance of the map (`"relative"`).
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: (batch, height, width, channels), or any structure of these such as the batches of
            `XLearnerExpansion`; those of one size go through the student as one batch.
        training: As for any layer.

    Returns:
        A list with the guided maps, `{task: [(batch, height', width', channels of the task) of
        each of levels]}`, of each size of images.

    Raises:
        ValueError: If levels or tasks do not fit.
        TypeError: If the student is no functional model, or the teacher no `XLearnerExpansion`.

    Example:
        >>> from keras_univrep.models import XLearnerExpansion, XLearnerSqueeze
        >>> def backbone():
        ...     images = keras.Input((16, 16, 3))
        ...     return keras.Model(images, keras.layers.Conv2D(4, 3, name="level1")(images))
        >>> def head():
        ...     return keras.layers.Conv2D(2, 1)
        >>> teacher = XLearnerExpansion(
        ...     {"depth": backbone(), "parts": backbone()},
        ...     {"depth": {"rooms": head()}, "parts": {"scenes": head()}}, levels=["level1"],
        ... )
        >>> model = XLearnerSqueeze(teacher, backbone())
        >>> model.compile("sgd")
        >>> sorted(model.fit(ops.ones((4, 16, 16, 3)), verbose=0).history)
        ['depth_hint', 'loss', 'parts_hint']

    References:
        - He et al. X-Learner: learning cross sources and tasks for universal visual
          representation. ECCV 2022.
        - Romero et al. FitNets: hints for thin deep nets. ICLR 2015.
    """

    # Keras's, on TensorFlow, would call the model on images of made-up sizes.
    _default_save_signature = None

    def __init__(
        self,
        teacher: XLearnerExpansion,
        student: keras.Model,
        student_levels: Sequence[str] | None = None,
        levels: Sequence[int] | None = None,
        tasks: Sequence[str] | None = None,
        reduction: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(teacher, XLearnerExpansion):
            raise TypeError(
                "`teacher` must be an `XLearnerExpansion`; of one task, to squeeze a single "
                f"network. Received: {type(teacher).__name__}. Build it over the backbones."
            )
        teacher.trainable = False
        self.teacher = teacher
        self.student = student
        self.tasks = teacher.tasks if tasks is None else tuple(tasks)
        if not self.tasks or not set(self.tasks) <= set(teacher.tasks):
            raise ValueError(
                f"`tasks` must name tasks of the teacher, {list(teacher.tasks)}. "
                f"Received: tasks={tasks!r}. Leave it out for all."
            )
        expanded = teacher.expanded
        self.levels = check_numbers("levels", levels, expanded.num_levels)
        names = expanded.level_names[teacher.tasks[0]] if student_levels is None else student_levels
        self.student_levels = tuple(names)
        if len(self.student_levels) != expanded.num_levels:
            raise ValueError(
                f"`student_levels` must name {expanded.num_levels} levels, as the teacher has. "
                f"Received: {list(self.student_levels)}. Name as many, from shallow to deep."
            )
        self._view = Levels(student, self.student_levels, "The student")
        self.reduction = check_reduction(reduction)
        self.guidance_layers = [
            GuidanceLayer(
                expanded.levels(task).filters[i - 1],
                name=f"guidance_{task}_{i}",
                dtype=self.dtype_policy,
            )
            for task in self.tasks
            for i in self.levels
        ]
        self.trackers = {task: keras.metrics.Mean(name=f"{task}_hint") for task in self.tasks}
        self.build(None)

    def build(self, input_shape: Shape | None) -> None:
        if self.built:
            return
        guidances = iter(self.guidance_layers)
        for _ in self.tasks:
            for i in self.levels:
                next(guidances).build((None, *self._view.maps[i - 1].shape[1:]))
        self.built: bool = True

    def call(self, images: Any, training: bool | None = None) -> list[Guided]:
        return [self.guide(x, bool(training)) for x in _by_size(images)]

    def guide(self, images: Tensor, training: bool = False) -> Guided:
        """Returns the guided maps of one batch of images.

        Args:
            images: Tensor of shape (batch, height, width, channels).
            training: Whether normalisations use the statistics of the batch.

        Returns:
            `{task: [(batch, height', width', channels of the task) of each of levels]}`.
        """
        maps = self._view(images, training)
        guidances = iter(self.guidance_layers)
        return {
            task: [next(guidances)(maps[i - 1], training=training) for i in self.levels]
            for task in self.tasks
        }

    def calibrate(self, images: Any) -> None:
        """Starts each guidance layer at the mean and deviation of the teacher's channels.

        Args:
            images: Images of all sources, in the form of a batch.
        """
        seen = [self.teacher.features(x, self.tasks) for x in _by_size(images)]
        guidances = iter(self.guidance_layers)
        for task in self.tasks:
            for i in self.levels:
                filters = self.teacher.expanded.levels(task).filters[i - 1]
                maps = [ops.reshape(found[task][i - 1], (-1, filters)) for found in seen]
                values = ops.cast(ops.concatenate(maps), "float32")
                normalization: Any = next(guidances).normalization
                normalization.gamma.assign(ops.std(values, axis=0))
                normalization.beta.assign(ops.mean(values, axis=0))

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        batches = _by_size(x)
        sizes = [ops.cast(ops.shape(images)[0], "float32") for images in batches]
        loss: Any = total(self.losses)
        for images, guided, size in zip(batches, y_pred, sizes, strict=True):
            for task, hints in self.teacher.features(images, self.tasks).items():
                value: Any = sum(
                    hint_loss(hints[i - 1], mine, self.reduction)
                    for i, mine in zip(self.levels, guided[task], strict=True)
                )
                self.trackers[task].update_state(value, sample_weight=size)
                loss = loss + size / sum(sizes) * value  # he2022 eq. 3
        return backend.share(loss)

    def head(self, task: str, source: str) -> Any:
        """Returns the teacher's head of a source.

        Args:
            task: One of the teacher's tasks.
            source: One of its sources.
        """
        return self.teacher.head(task, source)

    def for_source(self, task: str, source: str) -> keras.Model:
        """Returns a functional model of a source: the teacher's head on the guided maps.

        Args:
            task: One of `tasks`, of which all levels that the head takes are distilled.
            source: One of its sources.

        Returns:
            A `keras.Model` from images to the output of the source's head, for inference, of the
            cost of the student, a guidance layer and the head.

        Raises:
            ValueError: If the head takes levels that are not distilled.
        """
        head = self.head(task, source)
        expanded = self.teacher.expanded
        pyramid = task in self.teacher.pyramid
        needed = set(range(1, expanded.num_levels + 1)) if pyramid else {expanded.num_levels}
        if task not in self.tasks or not needed <= set(self.levels):
            raise ValueError(
                f"The head of {task!r} takes the levels {sorted(needed)}, which must be distilled. "
                f"Received: tasks={list(self.tasks)}, levels={list(self.levels)}. Name them in "
                "`levels`."
            )
        inputs = keras.Input(self._view.view.inputs[0].shape[1:], name="images")
        guided = dict(zip(self.levels, self.guide(inputs)[task], strict=True))
        maps = [guided[i] for i in sorted(needed)]
        return keras.Model(
            inputs, head(self.teacher.for_head(task, maps)), name=f"{self.name}_{task}_{source}"
        )

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "teacher": keras.saving.serialize_keras_object(self.teacher),
            "student": keras.saving.serialize_keras_object(self.student),
            "student_levels": list(self.student_levels),
            "levels": list(self.levels),
            "tasks": list(self.tasks),
            "reduction": self.reduction,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "XLearnerSqueeze":
        """Returns a model with this configuration.

        Args:
            config: What `get_config` returned.
            custom_objects: As for `keras.saving.deserialize_keras_object`.
        """
        config = dict(config)
        for name in ("teacher", "student"):
            config[name] = keras.saving.deserialize_keras_object(config[name], custom_objects)
        return cls(**config)


def _by_size(images: Any) -> list[Tensor]:
    """All images of a structure as one batch of each size, in the order of the sizes."""
    groups: dict[tuple, list[Tensor]] = {}
    for x in keras.tree.flatten(images):
        groups.setdefault(tuple(x.shape[1:]), []).append(x)
    return [xs[0] if len(xs) == 1 else ops.concatenate(xs) for xs in groups.values()]
