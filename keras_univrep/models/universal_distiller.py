"""Distillation of many single-domain teachers into one universal network."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_univrep import backend, losses
from keras_univrep.layers import AlignmentAdapter
from keras_univrep.losses.for_each import for_each
from keras_univrep.models._default_compile import default_compile
from keras_univrep.models._teaching import (
    Annealing,
    anneal,
    check_annealing,
    check_teachers,
    linear_decay,
    per_domain,
    split_batch,
    teacher_answers,
)
from keras_univrep.models.multi_domain_model import MultiDomainModel
from keras_univrep.models.teacher_cache import TeacherCache
from keras_univrep.optimizers import CoupledAdam, CoupledSGD
from keras_univrep.types import Shape, Tensor

Teacher = MultiDomainModel | TeacherCache | int

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
                     + w_t lambda_f^t l_f(a_t(f(x_t)), f_t(x_t))
                     + w_t lambda_p^t l_p(h_t(f(x_t)), h*_t(f_t(x_t)))

        | symbol | here | shape |
        |---|---|---|
        | f, h_t | `student` features and logits | (batch, channels), (batch, classes) |
        | f_t, h*_t | features and logits of `teachers[t]`, frozen | |
        | a_t | `alignment_adapters`, one `AlignmentAdapter` a domain | |
        | l | the compiled loss, cross-entropy by default | |
        | l_f, l_p | `feature_loss`, and `KLDistillation(temperature)` | |
        | lambda_f^t, lambda_p^t | `feature_weight`, `prediction_weight` | |
        | w_t | `annealing`, a schedule of the step, for all or each; 1 without one | |

    Differences: `preset("paper")` holds what is printed. `preset("released")` holds what the
        authors' code does beyond it: features normalised before CKA, temperature 8, and w falling
        linearly from 1 to 0 over the training. Section A.3 lets each w_t fall at its own pace,
        over 48000 k steps: `steps` of a preset, or `annealing`, may be given for each domain.

    Args:
        student: The universal network.
        teachers: A trained teacher for each domain to distil; domains of the student without one
            learn from their labels only. They are frozen in place. One network may teach several
            of its domains (a group network of `distillation_plan`): file it under each. A
            `TeacherCache`, or the number of its features, stands for a teacher whose answers come
            in the batches.
        feature_loss: A loss called as `loss(teacher, student)`, or its name; `None` leaves the
            term out.
        temperature: Temperature of the prediction loss; `None` leaves the term out.
        feature_weight: lambda_f, one number or one for each domain.
        prediction_weight: lambda_p, one number or one for each domain.
        adapter: Kind of the alignment adapters: `"linear"`, `"nonlinear"` or `"none"`.
        annealing: A `keras.optimizers.schedules.LearningRateSchedule` of w, or `None`; or a
            dictionary with one of these for each domain that has a teacher.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        images: A batch of each domain, `{domain: (batch, height, width, channels)}`. With answers
            of teachers beside it: `{"images": this, "targets": {domain: {"features": (batch,
            channels), "logits": (batch, classes)}}}`; they stand in for the teacher's own.
        training: While training, the result also holds the features that the losses need.

    Returns:
        Logits, `{domain: (batch, classes)}`.

    Raises:
        ValueError: If a teacher has other classes or domains than the student, or a term's
            numbers do not name the domains that have one.

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
        teachers: Mapping[str, Teacher],
        feature_loss: Any = "cka",
        temperature: float | None = 8.0,
        feature_weight: float | Mapping[str, float] = 1.0,
        prediction_weight: float | Mapping[str, float] = 1.0,
        adapter: str = "linear",
        annealing: Annealing | Mapping[str, Annealing] = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        sizes = check_teachers(student, teachers)
        self.student = student
        self.teacher_domains = tuple(teachers)
        networks = [t for t in teachers.values() if isinstance(t, MultiDomainModel)]
        # Once each: the file of a network that teaches several domains holds it once as well.
        self.teachers = list({id(network): network for network in networks}.values())
        for teacher in self.teachers:
            teacher.trainable = False
        self.taught_by = {
            name: next((i for i, t in enumerate(self.teachers) if t is teacher), None)
            for name, teacher in teachers.items()
        }
        if feature_loss is None and temperature is None:
            raise ValueError(
                "At least one of `feature_loss` and `temperature` must not be None. Received: None "
                "for both, which distils nothing. Train the student itself."
            )
        self.feature_loss = None if feature_loss is None else losses.get(feature_loss)
        self.temperature = temperature
        self.prediction_loss = None if temperature is None else losses.KLDistillation(temperature)
        self.feature_weight = per_domain("feature_weight", feature_weight, self.teacher_domains)
        self.prediction_weight = per_domain(
            "prediction_weight", prediction_weight, self.teacher_domains
        )
        self.adapter = adapter
        self.annealing = check_annealing(annealing, self.teacher_domains)
        self.target_sizes = sizes
        # Without features to compare there is nothing to align.
        aligned = sizes if self.feature_loss is not None else {}
        self.alignment_adapters = [
            AlignmentAdapter(size, adapter, name=f"alignment_{name}")
            for name, size in aligned.items()
        ]
        terms = {"feature_loss": self.feature_loss, "prediction_loss": self.prediction_loss}
        self.trackers = {
            f"{name}_{term}": keras.metrics.Mean(name=f"{name}_{term}")
            for name in self.teacher_domains
            for term, loss in terms.items()
            if loss is not None
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
        teachers: Mapping[str, Teacher],
        steps: int | Mapping[str, int],
        **overrides: Any,
    ) -> "UniversalDistiller":
        """Returns a distiller with the settings of the evidence that `name` stands for.

        Args:
            name: `"paper"` (what is printed) or `"released"` (what the authors' code does).
            student: As for the class.
            teachers: As for the class.
            steps: Number of training steps, over which the released code anneals; or a number for
                each domain with a teacher, over which its terms are annealed (section A.3).
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
            settings["annealing"] = linear_decay(steps)
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
        network: keras.optimizers.Optimizer, steps: int, learning_rate: Any = 0.01
    ) -> keras.optimizers.Optimizer:
        """Returns an optimizer that leaves the alignment adapters to Adam, as li2022 does.

        Args:
            network: Optimizer of everything else.
            steps: Steps over which the adapters' rate falls to zero.
            learning_rate: The adapters' first rate; or their whole schedule, and `steps` is unused.

        Returns:
            A `keras.optimizers.MultiOptimizer`.
        """
        if not isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            learning_rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
        adapters = CoupledAdam(learning_rate, epsilon=1e-8, l2=5e-4)
        return keras.optimizers.MultiOptimizer(
            keras.optimizers.OptimizerMap(network, {r"(.*/)?alignment_[^/]+/.*": adapters})
        )

    def build(self, input_shape: Shape | None) -> None:
        if self.built:
            return
        for adapter in self.alignment_adapters:
            adapter.build((None, self.student.feature_size))
        self.built: bool = True

    def call(self, images: Mapping[str, Any], training: bool | None = None) -> dict[str, Any]:
        images, _ = split_batch(images)
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
        images, targets = split_batch(x)
        answers = teacher_answers(self.teachers, self.taught_by, images, targets)
        weights = anneal(self.annealing, self.step, answers)
        terms: dict[str, Any] = dict.fromkeys(answers, 0.0)
        if self.feature_loss is not None:
            pairs = {
                name: (ops.stop_gradient(target), self._align(name, y_pred["features"][name]))
                for name, (target, _) in answers.items()
            }
            for name, value in for_each(self.feature_loss, pairs).items():
                self.trackers[f"{name}_feature_loss"].update_state(backend.whole(value))
                terms[name] = self.feature_weight[name] * value
        if self.prediction_loss is not None:
            pairs = {
                name: (ops.stop_gradient(target), y_pred["logits"][name])
                for name, (_, target) in answers.items()
            }
            for name, value in for_each(self.prediction_loss, pairs).items():
                self.trackers[f"{name}_prediction_loss"].update_state(backend.whole(value))
                terms[name] = terms[name] + self.prediction_weight[name] * value
        for name, term in terms.items():
            total = total + weights[name] * term  # li2022 eq. 3
        self.step.assign_add(1)
        return total

    def _align(self, domain: str, features: Tensor) -> Tensor:
        return self.alignment_adapters[self.teacher_domains.index(domain)](features)

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
        first: dict[int, str] = {}
        teachers: list[list[Any]] = []
        for name, number in self.taught_by.items():
            if number is None:
                teachers.append([name, self.target_sizes[name]])
            elif number in first:  # The same network again.
                teachers.append([name, first[number]])
            else:
                first[number] = name
                teachers.append([name, serialize(self.teachers[number])])
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "student": serialize(self.student),
            "teachers": teachers,
            "feature_loss": None if self.feature_loss is None else serialize(self.feature_loss),
            "temperature": self.temperature,
            "feature_weight": self.feature_weight,
            "prediction_weight": self.prediction_weight,
            "adapter": self.adapter,
            "annealing": (
                [[name, serialize(value)] for name, value in self.annealing.items()]
                if isinstance(self.annealing, Mapping)
                else serialize(self.annealing)
            ),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "UniversalDistiller":
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        config["student"] = deserialize(config["student"])
        teachers: dict[str, Teacher] = {}
        for name, value in config["teachers"]:
            if isinstance(value, str):
                teachers[name] = teachers[value]
            else:
                teachers[name] = value if isinstance(value, int) else deserialize(value)
        config["teachers"] = teachers
        config["feature_loss"] = deserialize(config["feature_loss"])
        if isinstance(config["annealing"], list):
            config["annealing"] = {name: deserialize(v) for name, v in config["annealing"]}
        else:
            config["annealing"] = deserialize(config["annealing"])
        return cls(**config)
