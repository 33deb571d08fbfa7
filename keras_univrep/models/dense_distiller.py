"""Distillation of single-task teachers into a network of several dense tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend, losses
from keras_univrep.layers import AlignmentAdapter
from keras_univrep.models._levels import resized
from keras_univrep.models._task_parts import TaskParts, cut
from keras_univrep.models._taught_trunk import TaughtTrunk
from keras_univrep.models._teaching import per_domain
from keras_univrep.types import Shape, Tensor

# What li2022 prints in eq. 4 and 3, and what the code does that its numbers came from.
PRESETS = {
    "paper": {"feature_loss": losses.NormalizedL2(positions="sum")},
    "released": {"feature_loss": losses.NormalizedL2(positions="mean")},
}


@keras.saving.register_keras_serializable(package="keras_univrep")
class DenseDistiller(keras.Model):
    """A network of several tasks that is pulled, while it trains, towards a teacher of each task.

    It computes what `network` does. While training it also asks the teachers, and adds what it is
    told to its `losses`; so it trains as any Keras model does, and in a `MultiTaskModel` under any
    balancer, which then weighs the losses of the tasks and leaves these terms alone.

    Equation:
        li2022, eq. 3, the terms beside the task losses, for an image x:

            sum_t  lambda_f^t sum_k l_f(a_t^k(f^k(x)), f_t^k(x))
                 + lambda_p^t l_p^t(h_t(x), h*_t(x))

        | symbol | here | shape |
        |---|---|---|
        | f^k | `student_layers[k]` of `network` | (batch, h_k, w_k, c_k) |
        | f_t^k | `teacher_layers[k]` of `teachers[t]`, frozen | (batch, h'_k, w'_k, c'_k) |
        | a_t^k | an `AlignmentAdapter`, then bilinear to (h'_k, w'_k) | (batch, h'_k, w'_k, c'_k) |
        | h_t, h*_t | output of the network, and of the teacher, for t | (batch, h, w, channels) |
        | l_f, l_p^t | `feature_loss` (eq. 4), `prediction_loss[t]` (BAM) | |
        | lambda_f^t, lambda_p^t | `feature_weight`, `prediction_weight` | |

    Differences: The equation matches one map. The authors' code matches two, bottleneck and last
        map of the student, and both with the last map of the teacher (the defaults, for SegNet);
        an earlier release of theirs matched each with its own
        (`teacher_layers=("bottleneck", "features")`). Eq. 4 sums over positions, which is
        `preset("paper")`; the code averages, which is `preset("released")` and the default. That
        code leaves the teachers' batch normalisations in training mode; here teachers answer as
        they do at inference. The code has lambda_f = 1, 1 and 2 for segmentation, depth and
        normals.

    Args:
        network: A functional student with a dictionary of outputs by task.
        teachers: A trained functional network for each task to distil, with an output of that
            name if its outputs are a dictionary. They are frozen in place.
        student_layers: Names of layers of `network`, or such names for each task.
        teacher_layers: As many names of layers of the teachers, or one name for all.
        feature_loss: A loss called as `loss(teacher, student)`, or its name; `None` leaves the
            term out.
        feature_weight: lambda_f, one number or one for each task with a teacher.
        prediction_loss: A loss called as `loss(teacher, student)` for each task whose outputs are
            compared; `None` for no task.
        prediction_weight: lambda_p, one number or one for each task with a teacher.
        adapter: Kind of the alignment adapters: `"linear"`, `"nonlinear"` or `"none"`.
        inputs: Name of the input that the teacher of each task sees, if the network takes a
            dictionary of inputs.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: What the network takes, (batch, height, width, channels).
        training: As for any layer.

    Returns:
        Outputs of the network, `{task: (batch, height, width, channels)}`.

    Raises:
        ValueError: If a layer is unknown, or tasks do not fit.
        TypeError: If student or teacher is no functional model.

    Example:
        >>> from keras_univrep.models import DenseDistiller, MultiTaskModel
        >>> def network(tasks):
        ...     images = keras.Input((8, 8, 3))
        ...     features = keras.layers.Conv2D(4, 3, padding="same", name="features")(images)
        ...     return keras.Model(
        ...         images, {name: keras.layers.Conv2D(1, 1, name=name)(features) for name in tasks}
        ...     )
        >>> student = DenseDistiller(
        ...     network(["depth", "edges"]),
        ...     {"depth": network(["depth"]), "edges": network(["edges"])},
        ...     student_layers=["features"],
        ... )
        >>> model = MultiTaskModel(student)
        >>> model.compile("adam", {"depth": "mae", "edges": "mse"}, balancer="cagrad")

    References:
        - Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
          learning. 2022.
        - Clark et al. BAM! Born-again multi-task networks for natural language understanding. ACL
          2019.
    """

    def __init__(
        self,
        network: keras.Model,
        teachers: Mapping[str, keras.Model],
        student_layers: Sequence[str] | Mapping[str, Sequence[str]] = ("bottleneck", "features"),
        teacher_layers: str | Sequence[str] = "features",
        feature_loss: Any = "normalized_l2",
        feature_weight: float | Mapping[str, float] = 1.0,
        prediction_loss: Mapping[str, Any] | None = None,
        prediction_weight: float | Mapping[str, float] = 1.0,
        adapter: str = "linear",
        inputs: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_functional(network, "network")
        parts = TaskParts(network, None, None, None, getattr(network, "auxiliary", {}))
        _check_teachers(teachers, parts.tasks)
        if feature_loss is None and not prediction_loss:
            raise ValueError(
                "At least one of `feature_loss` and `prediction_loss` must be given. Received: "
                "None for both, which distils nothing. Train the network itself."
            )
        self.network = network
        self.tasks = parts.tasks
        self.auxiliary = parts.auxiliary
        self.taught = tuple(teachers)
        self.teachers = list(teachers.values())
        for teacher in self.teachers:
            teacher.trainable = False
        self.feature_loss = None if feature_loss is None else losses.get(feature_loss)
        self.prediction_loss = {
            task: losses.get(loss) for task, loss in (prediction_loss or {}).items()
        }
        _check_known("prediction_loss", self.prediction_loss, self.taught)
        self.feature_weight = per_domain("feature_weight", feature_weight, self.taught)
        self.prediction_weight = per_domain("prediction_weight", prediction_weight, self.taught)
        self.adapter = adapter
        self.student_layers = {
            task: tuple(
                student_layers[task] if isinstance(student_layers, Mapping) else student_layers
            )
            for task in self.taught
        }
        self.teacher_layers = (
            teacher_layers if isinstance(teacher_layers, str) else tuple(teacher_layers)
        )
        self.inputs_of = dict(inputs or {})
        _check_known("inputs", self.inputs_of, self.taught)
        # One forward pass each gives maps and outputs. Not attributes that Keras tracks: what they
        # hold is the networks', and would be saved twice.
        wanted = {name for names in self.student_layers.values() for name in names}
        self._views = _Views(
            _with_maps(network, sorted(wanted)),
            [_with_maps(t, sorted(set(self._teacher_names(task)))) for task, t in teachers.items()],
        )
        self.alignment_adapters = [
            AlignmentAdapter(
                _map_of(teacher, name).shape[-1], adapter, name=f"alignment_{task}_{number}"
            )
            for task, teacher in teachers.items()
            for number, name in enumerate(self._teacher_names(task))
            if self.feature_loss is not None
        ]
        self.build(None)

    @classmethod
    def preset(
        cls,
        name: str,
        network: keras.Model,
        teachers: Mapping[str, keras.Model],
        **overrides: Any,
    ) -> "DenseDistiller":
        """Returns a distiller with the settings of the evidence that `name` stands for.

        Args:
            name: `"paper"` (what is printed) or `"released"` (what the authors' code does).
            network: As for the class.
            teachers: As for the class.
            **overrides: Further arguments of the class, which take precedence.

        Returns:
            A `DenseDistiller`.

        Raises:
            ValueError: If the preset is unknown.
        """
        if name not in PRESETS:
            raise ValueError(f"`name` must be one of {list(PRESETS)}. Received: name={name!r}.")
        return cls(network, teachers, **{**PRESETS[name], **overrides})

    @property
    def shared_variables(self) -> list[keras.Variable]:
        """Trainable variables of the network that more than one of its outputs depends on."""
        return TaskParts(self.network, None, None, None, self.auxiliary).shared_variables()

    def build(self, input_shape: Shape | None) -> None:
        if self.built:
            return
        maps = [
            _map_of(self.network, name)
            for task in self.taught
            for name in self.student_layers[task]
        ]
        for adapter, features in zip(self.alignment_adapters, maps):
            adapter.build((None, None, None, features.shape[-1]))
        self.built: bool = True

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Tensor]:
        if not training:
            return self.network(inputs, training=False)
        maps, outputs = self._views.student(inputs, training=True)
        for term in self.terms(inputs, maps, outputs):
            # Keras divides what is added by the replicas, as it has divided each term.
            self.add_loss(backend.whole(term))
        return outputs

    def terms(
        self, inputs: Any, maps: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Returns what the equation adds for each task with a teacher, scalars.

        Args:
            inputs: What the network takes.
            maps: The student's maps by the name of their layer, (batch, height, width, channels).
            outputs: Outputs of the network by task.
        """
        found = []
        numbered = iter(self.alignment_adapters)
        for task, teacher in zip(self.taught, self._views.teachers, strict=True):
            seen = inputs[self.inputs_of[task]] if self.inputs_of else inputs
            targets, answers = teacher(seen, training=False)
            terms: list[Tensor] = []
            if self.feature_loss is not None:
                names = zip(self.student_layers[task], self._teacher_names(task), strict=True)
                for mine, theirs in names:
                    target = ops.stop_gradient(targets[theirs])
                    aligned = resized(next(numbered)(maps[mine]), target)
                    value = self.feature_loss(target, aligned)
                    terms.append(self.feature_weight[task] * value)
            if task in self.prediction_loss:
                answer = ops.stop_gradient(
                    answers[task] if isinstance(answers, Mapping) else answers
                )
                value = self.prediction_loss[task](answer, outputs[task])
                terms.append(self.prediction_weight[task] * value)
            if terms:
                found.append(sum(terms))  # li2022 eq. 3
        return found

    def split(self, shared: Any) -> tuple[keras.Model, keras.Model]:
        """Returns the network up to the named layers, with the teachers, and from there on.

        Args:
            shared: Names of the last shared layers, as for `MultiTaskModel`.

        Raises:
            ValueError: If predictions are compared, or maps that come after these layers.
        """
        trunk, heads = cut(self.network, shared)
        return TaughtTrunk(self, trunk), heads

    def _teacher_names(self, task: str) -> tuple[str, ...]:
        if isinstance(self.teacher_layers, str):
            return (self.teacher_layers,) * len(self.student_layers[task])
        return self.teacher_layers

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "network": serialize(self.network),
            # As pairs: the file of a configuration does not keep the order of a dictionary.
            "teachers": [
                [t, serialize(m)] for t, m in zip(self.taught, self.teachers, strict=True)
            ],
            "student_layers": {task: list(names) for task, names in self.student_layers.items()},
            "teacher_layers": self.teacher_layers,
            "feature_loss": None if self.feature_loss is None else serialize(self.feature_loss),
            "feature_weight": self.feature_weight,
            "prediction_loss": {t: serialize(loss) for t, loss in self.prediction_loss.items()},
            "prediction_weight": self.prediction_weight,
            "adapter": self.adapter,
            "inputs": self.inputs_of,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "DenseDistiller":
        """Returns a distiller with this configuration.

        Args:
            config: What `get_config` returned.
            custom_objects: As for `keras.saving.deserialize_keras_object`.
        """
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        config["network"] = deserialize(config["network"], custom_objects)
        config["teachers"] = {t: deserialize(m, custom_objects) for t, m in config["teachers"]}
        config["feature_loss"] = deserialize(config["feature_loss"], custom_objects)
        config["prediction_loss"] = {
            task: deserialize(loss, custom_objects)
            for task, loss in config["prediction_loss"].items()
        }
        return cls(**config)


class _Views:
    """The networks with the maps that the terms need; no layer, so that Keras does not track it."""

    def __init__(self, student: keras.Model, teachers: list[keras.Model]) -> None:
        self.student = student
        self.teachers = teachers


def _with_maps(network: keras.Model, names: Sequence[str]) -> keras.Model:
    maps = {name: _map_of(network, name) for name in names}
    return keras.Model(
        network.inputs if isinstance(network.input, list) else network.input, [maps, network.output]
    )


def _map_of(network: keras.Model, name: str) -> keras.KerasTensor:
    try:
        return network.get_layer(name).output
    except ValueError as error:
        known = [layer.name for layer in network.layers]
        raise ValueError(
            f"`student_layers` and `teacher_layers` must name layers. Received: {name!r} for "
            f"{network.name!r}, which has {known}. Choose among these."
        ) from error


def _check_functional(network: Any, argument: str) -> None:
    if not (isinstance(network, keras.Model) and hasattr(network, "operations")):
        raise TypeError(
            f"`{argument}` must be a functional Keras model, whose layers can be looked into. "
            f"Received: {type(network).__name__}. Build it as `keras.Model(inputs, outputs)`."
        )


def _check_teachers(teachers: Any, tasks: Sequence[str]) -> None:
    if not isinstance(teachers, Mapping) or not teachers:
        raise ValueError(
            "`teachers` must hold a trained network by task. "
            f"Received: teachers={teachers!r}. Without any, train the network itself."
        )
    _check_known("teachers", teachers, tasks)
    for task, teacher in teachers.items():
        _check_functional(teacher, f"teachers[{task!r}]")
        if isinstance(teacher.output, Mapping) and task not in teacher.output:
            raise ValueError(
                "A teacher must have an output of the name of its task. Received: "
                f"{list(teacher.output)} for {task!r}. File it under another task."
            )


def _check_known(argument: str, values: Mapping[str, Any], tasks: Sequence[str]) -> None:
    if not set(values) <= set(tasks):
        raise ValueError(
            f"`{argument}` must be given for tasks of {list(tasks)}. "
            f"Received: {list(values)}. Leave the others out."
        )
