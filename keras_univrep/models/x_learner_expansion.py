"""X-Learner's first stage: a sub-backbone for each task, joined by reconciliation layers."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.layers import ReconciliationLayer
from keras_univrep.models._expanded_backbone import ExpandedBackbone
from keras_univrep.models._hints import Hints
from keras_univrep.models._phase_switch import TwoPhases, check_tau
from keras_univrep.models._source_losses import SourceLosses, average
from keras_univrep.models._sources import check_batch, check_heads, joined, nested, split
from keras_univrep.models._task_gradients import total
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class XLearnerExpansion(TwoPhases, backend.TrainStep, keras.Model):
    """Trains a sub-backbone for each task, first alone and then as one expanded backbone.

    Equation:
        he2022, eq. 1 and 2 and algorithm 1, for the sources n = 1 .. N_t of the tasks t = 1 .. T,
        N in all, and the levels i = 1 .. D of the sub-backbones E^t:

            F_i^t = E_i^t + sum_{k != t} sum_{j <= i} gamma_{j->i}^{k->t}(E_j^k)
            L = 1 / N sum_t sum_n l_t(F^t(X_n^t), Y_n^t)

        | symbol | here |
        |---|---|
        | E_i^t, F_i^t | maps (batch, height, width, channels) of `levels`, before and after |
        | gamma | `reconciliation_layers`, each a `ReconciliationLayer` |
        | l_t | the loss of `compile`, on the output of `heads[t][n]` |
        | k | `step`, the number of steps done, plus 1 |

        In a step k <= tau each E^t is its own network, which moves with the gradient of the mean
        of l_t over its own sources, and no bit of gamma moves; in a step k > tau all move
        with the gradient of L.

    Differences: Inputs of gamma are detached, as printed, so no task's loss moves the sub-backbone
        of another. Not printed is how that one answers then: as at inference, by the moving
        statistics of its own task's images. The heads take F. Whether the next level does
        is not printed; since the reversed form can only add to the outputs of finished
        sub-backbones, so does the other, and `feed_forward=True` is the other reading.
        Before step tau has been done, inference leaves gamma out too.
        With one backbone in place of several it is the hard sharing that the paper compares with;
        with `reconciliation=None` its X-Learner w/o Rec., with `"shallower"` X-Learner_t, with
        `teachers` the X-Learner++, whose hints act up to step tau (section 4.3: "during
        sub-backbone training") through guidance layers, as those of eq. 3. X-Learner_r is an
        `XLearnerSqueeze` of each task alone, and then this; X-Learner_p is
        `compression.prune` of this.

    Args:
        backbones: A functional model for each task, or a single one for all tasks.
        heads: A layer or model for each source of each task, `{task: {source: head}}`. It is
            called on the map of the last level, or on `{level: map}` for tasks in `pyramid`.
        levels: Names of layers of the backbones, from shallow to deep, or such names for each task.
        tau: Steps before the sub-backbones are joined; 0 for one phase.
        reconciliation: `"deeper"` (gamma from j <= i), `"shallower"` (from j >= i) or `None`.
        links: Pairs (j, i) of levels, from 1 on, to connect; by default all that the direction has
            and that reach a map which is taken, by a head or with `feed_forward` by the next level.
        reconciliation_options: Further arguments of each `ReconciliationLayer`.
        feed_forward: Whether F_i^t goes on to level i + 1, in place of E_i^t.
        pyramid: Tasks whose heads take the maps of all levels.
        teachers: A trained functional backbone with the task's levels for some or all sources,
            `{task: {source: backbone}}`, frozen in place.
        hint_levels: Numbers of the levels, from 1 on, that the hints are of; the last by default.
        hint_weight: Weight of each hint.
        hint_reduction: How the squares of a hint are added up, as of `XLearnerSqueeze`.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: Images of sources, `{task: {source: (batch, height, width, channels)}}`; the
            sources of a task go through its sub-backbone as one batch.
        training: As for any layer.

    Returns:
        Outputs of the heads, `{task: {source: ...}}`.

    Raises:
        ValueError: If levels, heads, tasks or links do not fit one another.
        TypeError: If a backbone is no functional model.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.models import XLearnerExpansion
        >>> def backbone():
        ...     images = keras.Input((16, 16, 3))
        ...     x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="level1")(images)
        ...     x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name="level2")(x)
        ...     return keras.Model(images, x)
        >>> def classifier(classes):
        ...     pool = keras.layers.GlobalAveragePooling2D()
        ...     return keras.Sequential([pool, keras.layers.Dense(classes)])
        >>> model = XLearnerExpansion(
        ...     {"classes": backbone(), "parts": backbone()},
        ...     {"classes": {"photos": classifier(5), "birds": classifier(3)},
        ...      "parts": {"scenes": keras.layers.Conv2D(2, 1)}},
        ...     levels=["level1", "level2"], tau=100,
        ... )
        >>> x = np.ones((2, 16, 16, 3), "float32")
        >>> outputs = model({"classes": {"photos": x, "birds": x}, "parts": {"scenes": x}})
        >>> tuple(outputs["classes"]["birds"].shape), tuple(outputs["parts"]["scenes"].shape)
        ((2, 3), (2, 4, 4, 2))

    References:
        He et al. X-Learner: learning cross sources and tasks for universal visual representation.
        ECCV 2022.
    """

    # Keras's, on TensorFlow, would call the model on images of made-up sizes.
    _default_save_signature = None

    def __init__(
        self,
        backbones: keras.Model | Mapping[str, keras.Model],
        heads: Mapping[str, Mapping[str, Any]],
        levels: Sequence[str] | Mapping[str, Sequence[str]],
        tau: int = 0,
        reconciliation: str | None = "deeper",
        links: Iterable[Sequence[int]] | None = None,
        reconciliation_options: Mapping[str, Any] | None = None,
        feed_forward: bool = False,
        pyramid: Sequence[str] = (),
        teachers: Mapping[str, Mapping[str, keras.Model]] | None = None,
        hint_levels: Sequence[int] | None = None,
        hint_weight: float = 1.0,
        hint_reduction: str = "mean",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sources = check_heads(heads, self.name)
        self.tasks = tuple(self.sources)
        check_tau(tau, not isinstance(backbones, Mapping), bool(teachers))
        self.tau = tau
        self.expanded = ExpandedBackbone(
            self.tasks, backbones, levels, reconciliation, links, reconciliation_options,
            feed_forward, pyramid, name="expanded", dtype=self.dtype_policy,
        )  # fmt: skip
        self.pyramid = tuple(pyramid)
        self.keys = [(task, source) for task, names in self.sources.items() for source in names]
        self.heads = [heads[task][source] for task, source in self.keys]
        self.hints = None
        if teachers:
            check_batch(teachers, self.sources, "teachers")
            self.hints = Hints(
                {(t, s): teacher for t, row in teachers.items() for s, teacher in row.items()},
                self.expanded, hint_levels, hint_weight, hint_reduction,
                name="hints", dtype=self.dtype_policy,
            )  # fmt: skip
        names = [f"{t}_{s}_loss" for t, s in self.keys]
        names += [f"{t}_{s}_hint" for t, s in (self.hints.taught if self.hints else ())]
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.step = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="step"
        )
        self.joint = tau == 0
        self.source_losses: Any = None
        self.build(None)

    def build(self, input_shape: Shape | None) -> None:
        if self.built:
            return
        for (task, _), head in zip(self.keys, self.heads, strict=True):
            if not head.built:
                shapes = self.expanded.shapes(task)
                head(self.for_head(task, [keras.KerasTensor(shape) for shape in shapes]))
        self.built: bool = True

    def call(
        self, inputs: Mapping[str, Mapping[str, Tensor]], training: bool | None = None
    ) -> dict[str, dict[str, Any]]:
        check_batch(inputs, self.sources, "inputs")
        images = {task: joined(batches, task) for task, batches in inputs.items()}
        if training:
            plain, fused = self.expanded.learn(images, self.joint)
        else:
            fused = self.expanded.answer(images, self._gate())
        if training and not self.joint and self.hints is not None:
            seen = {task: split(plain[task], batches) for task, batches in inputs.items()}
            for (task, source), value in self.hints(inputs, seen).items():
                self.trackers[f"{task}_{source}_hint"].update_state(value)
                self.add_loss(self.hints.weight * value)
        outputs: dict[str, dict[str, Any]] = {}
        for task, batches in inputs.items():
            outputs[task] = {
                source: self.head(task, source)(self.for_head(task, maps))
                for source, maps in split(fused[task], batches).items()
            }
        return outputs

    def _gate(self) -> Tensor | None:
        """Whether reconciliation layers count at inference: not before they have been trained."""
        return self.step.value >= self.tau if self.tau else None

    def head(self, task: str, source: str) -> Any:
        """Returns the head of a source.

        Args:
            task: One of the tasks.
            source: One of its sources.
        """
        if (task, source) not in self.keys:
            raise ValueError(
                f"There must be a source of that name. Received: task={task!r}, source={source!r}, "
                f"where there are {self.sources}. Choose among these."
            )
        return self.heads[self.keys.index((task, source))]

    def for_head(self, task: str, maps: Sequence[Tensor]) -> Any:
        """Returns what a task's heads take: the last of its maps, or `{level: map}`."""
        if task in self.pyramid:
            return dict(zip(self.expanded.level_names[task], maps, strict=True))
        return maps[-1]

    def features(
        self, images: Tensor, tasks: Sequence[str] | None = None
    ) -> dict[str, list[Tensor]]:
        """Returns the fused maps F of tasks for any images, at inference.

        Args:
            images: Tensor of shape (batch, height, width, channels).
            tasks: Some of `tasks`; all by default.

        Returns:
            `{task: [(batch, height, width, channels) of each level]}`.
        """
        wanted = self.tasks if tasks is None else tuple(tasks)
        return self.expanded.fused(images, wanted, self._gate())

    def for_source(self, task: str, source: str) -> keras.Model:
        """Returns a functional model of one source as of now, sharing the weights.

        Args:
            task: One of the tasks.
            source: One of its sources.

        Returns:
            A `keras.Model` from images to the output of the source's head, for inference.
        """
        head = self.head(task, source)
        images = keras.Input(self.expanded.image_shape, name="images")
        outputs = head(self.for_head(task, self.features(images, [task])[task]))
        return keras.Model(images, outputs, name=f"{self.name}_{task}_{source}")

    def to_backbone(self) -> keras.Model:
        """Returns the backbone, for other tasks than its own.

        Differences: he2022 transfers the squeezed backbone. The maps of an expanded one are here
            those of all tasks side by side: as many times the channels, and the cost.

        Returns:
            A functional `keras.Model`, sharing the weights, from images to `{level: (batch, height,
            width, channels of all sub-backbones)}`, whose layers of these names give the maps:
            those of the first task's levels. Its normalisations are those of inference.
            Where there is one backbone for all tasks it is that.
        """
        return self.expanded.to_backbone(self._gate(), f"{self.name}_backbone")

    def compile(
        self, optimizer: Any = "sgd", loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Configures training.

        Args:
            optimizer: As for `keras.Model.compile`.
            loss: `{task: loss}`, or `{task: {source: loss}}`: Keras losses, or functions of
                (y_true, y_pred) that return a scalar or one number for each sample.
            metrics: `{task: {source: [metrics]}}`, for some or all sources.
            **kwargs: As for `keras.Model.compile`, without `loss_weights`.

        Raises:
            ValueError: If a source has no loss.
        """
        source_losses = SourceLosses(loss, metrics, self.sources)
        super().compile(optimizer=optimizer, metrics=source_losses.flat_metrics(), **kwargs)
        self.source_losses = source_losses
        # With all variables: the first phase leaves some out, which the second moves.
        self.optimizer.build(self.trainable_variables)

    def update(self, data: Any) -> dict[str, Tensor]:
        """One step of algorithm 1 (called by Keras).

        Args:
            data: A batch, `(x, y)` or `(x, y, sample_weight)`, each `{task: {source: ...}}`.

        Returns:
            Logs.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        check_batch(x, self.sources, whole=True)
        variables = self.learning_variables()

        def forward() -> tuple[Tensor, Any]:
            y_pred = self(x, training=True)
            losses = self.source_losses(x, y, y_pred, sample_weight)
            return average(losses, self.joint) + backend.share(total(self.losses)), (y_pred, losses)

        loss, (y_pred, losses), grads = backend.gradients(forward, variables, self.optimizer)
        with warnings.catch_warnings():
            # Of the variables that this phase leaves alone.
            warnings.filterwarnings("ignore", message="Gradients do not exist")
            backend.apply_gradients(self.optimizer, grads, variables)
        self.step.assign_add(1)
        self.track_loss(loss, x)
        self._track(x, losses)
        logs = self.compute_metrics(x, y, y_pred, sample_weight)
        for task, source in self.hints.taught if self.hints and not self.joint else ():
            name = f"{task}_{source}_hint"
            logs[name] = self.trackers[name].result()
        return logs

    def learning_variables(self) -> list[keras.Variable]:
        """Returns what moves in a step of the present phase."""
        still = self.expanded.unused_variables()
        if not self.joint:
            still += [v for layer in self.reconciliation_layers for v in layer.variables]
        elif self.hints is not None:
            still += self.hints.variables
        idle = {id(v) for v in still}
        return [v for v in self.trainable_variables if id(v) not in idle]

    @property
    def reconciliation_layers(self) -> list[ReconciliationLayer]:
        """All reconciliation layers."""
        return self.expanded.reconciliation_layers

    def _track(self, x: Any, losses: Mapping[str, Mapping[str, Tensor]]) -> None:
        for task, row in losses.items():
            for source, loss in row.items():
                size, whole = ops.shape(x[task][source])[0], backend.whole(loss)
                self.trackers[f"{task}_{source}_loss"].update_state(whole, sample_weight=size)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        losses = self.source_losses(x, y, y_pred, sample_weight)
        self._track(x, losses)
        return average(losses, True) + backend.share(total(self.losses))

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        y, y_pred, weights = self.source_losses.for_metrics(y, y_pred, sample_weight)
        logs = super().compute_metrics(x, y, y_pred, weights)
        # Where no hints are given their zeros would read as a match.
        hints = {name for name in self.trackers if name.endswith("_hint")}
        return {name: value for name, value in logs.items() if name not in hints}

    def get_compile_config(self) -> dict[str, Any]:
        """Returns what `compile_from_config` takes."""
        config = super().get_compile_config()
        return {**config, **self.source_losses.configs()} if config else config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as before saving, so that a loaded model goes on with its optimizer's state.

        Args:
            config: What `get_compile_config` returned.
        """
        # Keras skips this for a class with its own `compile`.
        self.compile(**keras.saving.deserialize_keras_object(config))

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            # As pairs: the file of a configuration does not keep the order of a dictionary.
            "heads": [[*key, serialize(head)] for key, head in zip(self.keys, self.heads)],
            "tau": self.tau,
            "pyramid": list(self.pyramid),
            **self.expanded.arguments(),
            **(self.hints.arguments() if self.hints is not None else {}),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "XLearnerExpansion":
        """Returns a model with this configuration.

        Args:
            config: What `get_config` returned.
            custom_objects: As for `keras.saving.deserialize_keras_object`.
        """
        config = dict(config)
        for name in ("heads", "teachers"):
            config[name] = nested(config.pop(name, ()), custom_objects)
        constraints = config.pop("kernel_constraints")
        model = cls(**ExpandedBackbone.restored(config, custom_objects))
        for layer, of_layer in zip(model.reconciliation_layers, constraints, strict=True):
            layer.constrain(of_layer)
        return model
