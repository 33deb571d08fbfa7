"""Distillation of many single-domain teachers into one universal network."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_univrep import losses
from keras_univrep.layers import AlignmentAdapter
from keras_univrep.models.multi_domain_model import MultiDomainModel, default_compile
from keras_univrep.optimizers import CoupledAdam, CoupledSGD
from keras_univrep.types import Shape, Tensor

PRESETS = {
    # What li2022 prints in section 5 and A.2.
    "paper": {"feature_loss": losses.CKA(normalize=False), "temperature": 1.0, "anneal": False},
    # What the released code does, and the printed numbers came from.
    "released": {"feature_loss": losses.CKA(normalize=True), "temperature": 8.0, "anneal": True},
}


@keras.saving.register_keras_serializable(package="keras_univrep")
class UniversalDistiller(keras.Model):
    """Trains a student to be, in every domain at once, what each teacher is in its own.

    Equation:
        li2022, eq. 3, for a batch x_t with labels y_t of every domain t:

            L = sum_t  l(h_t(f(x_t)), y_t)
                     + w lambda_f^t l_f(a_t(f(x_t)), f_t(x_t))
                     + w lambda_p^t l_p(h_t(f(x_t)), h*_t(f_t(x_t)))

        | symbol | here | shape |
        |---|---|---|
        | f, h_t | `student` features and logits | (batch, channels), (batch, classes) |
        | f_t, h*_t | features and logits of `teachers[t]`, frozen | |
        | a_t | `alignment_adapters`, one `AlignmentAdapter` a teacher | |
        | l | the compiled loss, cross-entropy by default | |
        | l_f, l_p | `feature_loss`, and `KLDistillation(temperature)` | |
        | lambda_f^t, lambda_p^t | `feature_weight`, `prediction_weight` | |
        | w | `annealing`, a schedule of the step; 1 without one | |

    Differences: `preset("paper")` holds what is printed. `preset("released")` holds what the
        authors' code does beyond it: features normalised before CKA, temperature 8, and w falling
        linearly from 1 to 0 over the training.

    Args:
        student: The universal network.
        teachers: A trained teacher for each domain to distil; domains of the student without one
            learn from their labels only. They are frozen in place.
        feature_loss: A loss called as `loss(teacher, student)`, or its name.
        temperature: Temperature of the prediction loss.
        feature_weight: lambda_f, one number or one for each domain.
        prediction_weight: lambda_p, one number or one for each domain.
        adapter: Kind of the alignment adapters: `"linear"`, `"nonlinear"` or `"none"`.
        annealing: A `keras.optimizers.schedules.LearningRateSchedule` of w, or `None`.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: A batch of each domain, `{domain: (batch, height, width, channels)}`.
        training: While training, the result also holds the features that the losses need.

    Returns:
        Logits, `{domain: (batch, classes)}`.

    Raises:
        ValueError: If a teacher has other classes or domains than the student.

    Example:
        >>> from keras_univrep.backbones import ResNet26
        >>> from keras_univrep.models import MultiDomainModel, UniversalDistiller
        >>> classes = {"photo": 10, "sketch": 5}
        >>> student = MultiDomainModel(ResNet26(width=0.25), classes)
        >>> teachers = {
        ...     name: MultiDomainModel(ResNet26(width=0.25), {name: count})
        ...     for name, count in classes.items()
        ... }
        >>> model = UniversalDistiller.preset("released", student, teachers, steps=100)
        >>> model.compile(model.preset_optimizer(steps=100))

    References:
        Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
        learning. 2022.
    """

    def __init__(
        self,
        student: MultiDomainModel,
        teachers: Mapping[str, MultiDomainModel],
        feature_loss: Any = "cka",
        temperature: float = 8.0,
        feature_weight: float | Mapping[str, float] = 1.0,
        prediction_weight: float | Mapping[str, float] = 1.0,
        adapter: str = "linear",
        annealing: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_teachers(student, teachers)
        self.student = student
        self.teacher_domains = tuple(teachers)
        self.teachers = list(teachers.values())
        for teacher in self.teachers:
            teacher.trainable = False
        self.feature_loss = losses.get(feature_loss)
        self.temperature = temperature
        self.prediction_loss = losses.KLDistillation(temperature)
        self.feature_weight = _per_domain("feature_weight", feature_weight, self.teacher_domains)
        self.prediction_weight = _per_domain(
            "prediction_weight", prediction_weight, self.teacher_domains
        )
        self.adapter = adapter
        self.annealing = annealing
        self.alignment_adapters = [
            AlignmentAdapter(teacher.feature_size, adapter, name=f"alignment_{name}")
            for name, teacher in teachers.items()
        ]
        self.trackers = {
            f"{name}_{term}": keras.metrics.Mean(name=f"{name}_{term}")
            for name in self.teacher_domains
            for term in ("feature_loss", "prediction_loss")
        }
        self.step = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="step"
        )
        self.build(None)

    @classmethod
    def preset(
        cls,
        name: str,
        student: MultiDomainModel,
        teachers: Mapping[str, MultiDomainModel],
        steps: int,
        **overrides: Any,
    ) -> "UniversalDistiller":
        """Returns a distiller with the settings of the evidence that `name` stands for.

        Args:
            name: `"paper"` (what is printed) or `"released"` (what the authors' code does).
            student: As for the class.
            teachers: As for the class.
            steps: Number of training steps, over which the released code anneals.
            **overrides: Further arguments of the class, which take precedence.

        Returns:
            A `UniversalDistiller`.

        Raises:
            ValueError: If the preset is unknown.
        """
        if name not in PRESETS:
            raise ValueError(f"`name` must be one of {list(PRESETS)}. Received: name={name!r}.")
        settings = dict(PRESETS[name])
        if settings.pop("anneal"):
            settings["annealing"] = keras.optimizers.schedules.PolynomialDecay(1.0, steps, 0.0)
        return cls(student, teachers, **{**settings, **overrides})

    @classmethod
    def preset_optimizer(
        cls, steps: int, learning_rate: float = 0.01, l2: float = 1e-4
    ) -> keras.optimizers.Optimizer:
        """Returns the optimizers of li2022, section A.2, for a training of `steps` steps.

        SGD with momentum for the network, its rate divided by 10 after 80/120 and 100/120 of the
        steps, and Adam for the alignment adapters, annealed to zero.

        Args:
            steps: Number of training steps.
            learning_rate: First rate of the network.
            l2: L2 penalty of the network.

        Returns:
            A `keras.optimizers.MultiOptimizer`.
        """
        drops = keras.optimizers.schedules.PiecewiseConstantDecay(
            [steps * 80 // 120, steps * 100 // 120],
            [learning_rate, 0.1 * learning_rate, 0.01 * learning_rate],
        )
        return cls.optimizer_groups(CoupledSGD(drops, momentum=0.9, l2=l2), steps)

    @staticmethod
    def optimizer_groups(
        network: keras.optimizers.Optimizer, steps: int
    ) -> keras.optimizers.Optimizer:
        """Returns an optimizer that leaves the alignment adapters to Adam, as li2022 does.

        Args:
            network: Optimizer of everything else.
            steps: Steps over which the adapters' rate falls from 0.01 to zero.

        Returns:
            A `keras.optimizers.MultiOptimizer`.
        """
        adapters = CoupledAdam(
            keras.optimizers.schedules.CosineDecay(0.01, steps), epsilon=1e-8, l2=5e-4
        )
        return keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(network, {r"(.*/)?alignment_[^/]+/.*": adapters})
        )

    def build(self, input_shape: Shape | None) -> None:
        if self.built:
            return
        for adapter in self.alignment_adapters:
            adapter.build((None, self.student.feature_size))
        self.built: bool = True

    def call(self, images: Mapping[str, Tensor], training: bool | None = None) -> dict[str, Any]:
        if not training:
            return self.student(images, training=False)
        features = self.student.features(images, training=True)
        # Keras hands the result of the call to `compute_loss`, which needs the features as well.
        return {"logits": self.student.classify(features), "features": features}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        if not training:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        total = super().compute_loss(x, y, y_pred["logits"], sample_weight, training)
        weight = 1.0 if self.annealing is None else self.annealing(ops.convert_to_tensor(self.step))
        for name, teacher, adapter in zip(
            self.teacher_domains, self.teachers, self.alignment_adapters
        ):
            if name not in x:
                continue
            target = teacher.features(x[name], domain=name, training=False)
            target_logits = teacher.classify(target, domain=name)
            feature = self.feature_loss(
                ops.stop_gradient(target), adapter(y_pred["features"][name])
            )
            prediction = self.prediction_loss(
                ops.stop_gradient(target_logits), y_pred["logits"][name]
            )
            self.trackers[f"{name}_feature_loss"].update_state(feature)
            self.trackers[f"{name}_prediction_loss"].update_state(prediction)
            total = total + weight * (  # li2022 eq. 3
                self.feature_weight[name] * feature + self.prediction_weight[name] * prediction
            )
        self.step.assign_add(1)
        return total

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        # The compiled metrics know the logits only: an output without a target is an error there.
        # A domain may be called "features": its logits are no mapping.
        if isinstance(y_pred.get("features"), Mapping):
            return super().compute_metrics(x, y, y_pred["logits"], sample_weight)
        logs = super().compute_metrics(x, y, y_pred, sample_weight)
        # The teachers take no part in an evaluation; their terms' zeros would read as a match.
        return {name: value for name, value in logs.items() if name not in self.trackers}

    def compile(
        self, optimizer: Any = None, loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Configures training; by default cross-entropy on logits, and accuracy, of each domain.

        Args:
            optimizer: As for `keras.Model.compile`; `preset_optimizer` gives the paper's.
            loss: As for `keras.Model.compile`; the default takes integer labels.
            metrics: As for `keras.Model.compile`.
            **kwargs: As for `keras.Model.compile`.
        """
        super().compile(
            optimizer=optimizer or "sgd",
            **default_compile(self.student.domains, loss, metrics),
            **kwargs,
        )

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as before saving, so that a loaded model goes on with its optimizer's state.

        Args:
            config: What `get_compile_config` returned.
        """
        # Keras skips this for a class with its own `compile`.
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "student": serialize(self.student),
            "teachers": [
                [name, serialize(teacher)]
                for name, teacher in zip(self.teacher_domains, self.teachers)
            ],
            "feature_loss": serialize(self.feature_loss),
            "temperature": self.temperature,
            "feature_weight": self.feature_weight,
            "prediction_weight": self.prediction_weight,
            "adapter": self.adapter,
            "annealing": None if self.annealing is None else serialize(self.annealing),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "UniversalDistiller":
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        config["student"] = deserialize(config["student"])
        config["teachers"] = {name: deserialize(value) for name, value in config["teachers"]}
        config["feature_loss"] = deserialize(config["feature_loss"])
        if config["annealing"] is not None:
            config["annealing"] = deserialize(config["annealing"])
        return cls(**config)


def _check_teachers(student: MultiDomainModel, teachers: Mapping[str, MultiDomainModel]) -> None:
    if not teachers:
        raise ValueError(
            "`teachers` must hold at least one teacher. Received: {}. Without any, train the "
            "student itself."
        )
    for name, teacher in teachers.items():
        if name not in student.domains or name not in teacher.domains:
            raise ValueError(
                "Each teacher must be filed under a domain that it and the student know. Received: "
                f"{name!r}, student={list(student.domains)}, teacher={list(teacher.domains)}."
            )
        if teacher.num_classes[name] != student.num_classes[name]:
            raise ValueError(
                f"The teacher of {name!r} must have the student's classes. Received: "
                f"teacher={teacher.num_classes[name]}, student={student.num_classes[name]}. "
                "Train the teacher on the same labels."
            )


def _per_domain(
    argument: str, value: float | Mapping[str, float], domains: tuple[str, ...]
) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {name: float(value) for name in domains}
    if set(value) != set(domains):
        raise ValueError(
            f"`{argument}` must be a number, or a number for each domain with a teacher: "
            f"{list(domains)}. Received: {dict(value)}."
        )
    return {name: float(value[name]) for name in domains}
