"""Several high-level tasks on one backbone, each meeting new sub-tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend, balancers
from keras_univrep.models._divergence_check import all_finite, with_divergence_check
from keras_univrep.models._high_level_task import HighLevelTask, check_parts
from keras_univrep.models._inner_rates import InnerRates
from keras_univrep.models._meta_batch import meta_batch
from keras_univrep.models._modulation import ModulatedLayers
from keras_univrep.models._task_learner import (
    TaskLearner,
    after_step,
    answers_of,
    check_batch,
    check_scope,
    for_metrics,
    keep_state,
    query_losses,
    with_own_optimizer,
)
from keras_univrep.models._task_losses import losses_by_task
from keras_univrep.models._task_pass import TaskPass
from keras_univrep.models.maml import check_moments
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class MultiTaskMetaLearner(backend.TrainStep, keras.Model):
    """Meta-learns heads of several high-level tasks on one backbone, modulated for each sub-task.

    Equation:
        lekkala2020, eq. 3 to 5; for high-level tasks j with sub-tasks i of support and query set:

            theta' = theta_j - alpha d L^_ji(g_theta_j(x)) / d theta_j,  `steps` times
            Phi, theta_j  move along  sum_j lambda_j sum_i d L_ji(f_Phi(I), g_(theta'))
            w = h_Psi_j(x, y)  of the support set
            Psi_j  moves along  lambda_j sum_i d L_ji(f_Phi(I, 1 - w), g_(theta')) / d Psi_j

        | symbol | here | shape |
        |---|---|---|
        | f_Phi | `backbone` | images to features or maps |
        | g_theta_j | `heads` | features to outputs |
        | h_Psi_j | `modulators` | |
        | w | weights of the outputs of `modulated` | (channels,) for each sub-task |
        | x | features of the support set, un-modulated | |
        | lambda_j | weights of the `balancer` | |

        Without task adaptation (`domain_tasks`) theta' is theta_j: plain pre-training. To answer,
        the head adapts to the support set, and the queries go through the modulated backbone. With
        `ProbabilisticAttentionModulator`, eq. 5 has a sample of the posterior and KL(q || p).

    Differences: See `AttentionModulator` and `modulate`. The paper does not print whether the
        adapted head sees modulated features of the support set; here, as in eq. 5, it adapts to
        un-modulated ones. A loss of a batch is the mean over its sub-tasks. Batch normalisation as
        in `MAML`. Modulation acts on what normalisations give, which for a positive factor is the
        end of a block of convolution, normalisation, ReLU and maximum.

    Args:
        backbone: A built model of images that returns features or maps, without dropout.
        heads: `{task: built layer or model of what the backbone returns}`.
        modulators: `{task: AttentionModulator or ProbabilisticAttentionModulator}` for tasks that
            have one, of `modulated_channels(backbone)` channels.
        domain_tasks: Names of tasks whose head does not adapt.
        steps: Inner steps.
        learning_rate: alpha, a positive number.
        learn_rates: As for `ANIL`.
        first_order: As for `ANIL`.
        query_moments: As for `ANIL`.
        test_steps: As for `ANIL`.
        modulated: Names or patterns of normalisations, as for `film_layers`; `None` for all.
        vectorize: As for `ANIL`.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: `{task: {"support": (x, y), "query": (x, y)}}`, as for `MetaLearner`.
        training: Whether to take `steps` or `test_steps`.

    Returns:
        Outputs of the queries, `{task: (sub-tasks, samples, ...)}`.

    Raises:
        ValueError: If tasks have no head, or a modulator weighs another number of channels.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.backbones import Conv4
        >>> from keras_univrep.layers import AttentionModulator
        >>> from keras_univrep.models import MultiTaskMetaLearner
        >>> backbone = Conv4(4, image_size=16, channels=1)
        >>> heads = {"digit": keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])}
        >>> channels = MultiTaskMetaLearner.modulated_channels(backbone)
        >>> modulators = {"digit": AttentionModulator(channels, label_size=3)}
        >>> model = MultiTaskMetaLearner(backbone, heads, modulators)
        >>> x, y = np.random.rand(2, 3, 16, 16, 1), np.tile(np.arange(3), (2, 1))
        >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        >>> model.compile("adam", {"digit": loss})
        >>> outputs = model({"digit": {"support": (x, y), "query": x}})
        >>> tuple(outputs["digit"].shape)
        (2, 3, 3)

    References:
        Lekkala, Itti. Attentive feature reuse for multi task meta learning. 2020.
    """

    # Keras's, on TensorFlow, traces the call on inputs of its own making.
    _default_save_signature = None

    def __init__(
        self,
        backbone: keras.Model,
        heads: Mapping[str, Any],
        modulators: Mapping[str, Any] | None = None,
        domain_tasks: Sequence[str] = (),
        steps: int = 5,
        learning_rate: float = 0.01,
        learn_rates: str | None = None,
        first_order: bool = False,
        query_moments: str = "batch",
        test_steps: int | None = None,
        modulated: str | Sequence[str] | None = None,
        vectorize: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        modulators = dict(modulators or {})
        layers = ModulatedLayers(backbone, modulated) if modulators else None
        check_parts(backbone, heads, modulators, domain_tasks, layers, first_order)
        self.tasks = tuple(heads)
        self.domain_tasks = tuple(domain_tasks)
        self.steps, self.test_steps = steps, test_steps
        self.first_order = bool(first_order)
        self.query_moments = check_moments(query_moments)
        self.modulated, self.vectorize = modulated, vectorize
        self.backbone = backbone
        # Under one name each, as the file of the weights lists what a model holds by attribute.
        self.heads = list(heads.values())
        self.modulated_tasks = tuple(task for task in heads if task in modulators)
        self.modulators = [modulators[task] for task in self.modulated_tasks]
        self.rates: list[InnerRates] = []
        self.parts: dict[str, HighLevelTask] = {}
        for task, head in heads.items():
            adapts = task not in domain_tasks
            rates = InnerRates(
                learning_rate, learn_rates, dtype=self.dtype_policy, name=f"{task}_rates"
            )
            rates.make(head.trainable_variables if adapts else [])
            self.rates.append(rates)
            self.parts[task] = HighLevelTask(
                backbone, layers, head, modulators.get(task), rates, adapts, self.first_order,
                query_moments, vectorize,
            )  # fmt: skip
        self.task_losses: Any = None
        self.balancer: balancers.Balancer = balancers.Uniform()
        self.balancer_states: list[keras.Layer] = []
        self.scope = "shared"
        names = [f"{task}_{kind}" for kind in ("loss", "weight") for task in self.tasks]
        names += [f"{task}_modulated_loss" for task in self.modulated_tasks]
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.diverged = keras.metrics.Sum(name="diverged")
        self.skipped = keras.metrics.Sum(name="skipped")
        self.build(None)

    @staticmethod
    def modulated_channels(
        backbone: keras.Model, modulated: str | Sequence[str] | None = None
    ) -> int:
        """Number of channels that a modulator of a backbone weighs.

        Args:
            backbone: As for the constructor.
            modulated: As for the constructor.
        """
        return ModulatedLayers(backbone, modulated).channels

    def build(self, input_shape: Shape | None) -> None:
        self.built: bool = True

    def call(self, inputs: Mapping[str, Any], training: bool | None = None) -> dict[str, Tensor]:
        return answers_of(self.run_tasks(inputs, learns=False, training=training))

    def attention_weights(self, inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """What the modulators give for the support sets.

        Args:
            inputs: As for the call.

        Returns:
            `{task: w}`, (sub-tasks, channels) each.
        """
        found = self.run_tasks(inputs, learns=False, training=False)
        return {task: found[task].weights for task in self.modulated_tasks if task in found}

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Any = None,
        modulator_optimizer: Any = None,
        balancer: Any = "uniform",
        on: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Configures training.

        Args:
            optimizer: As for `keras.Model.compile`; beta of eq. 4.
            loss: `{task: loss}`, or one for all; in training that of eq. 4, else of the answers.
            metrics: As for `keras.Model.compile`, by task, on the answers. Keras leaves the task
                out of their names where there is one alone.
            modulator_optimizer: That of the modulators, gamma of eq. 5, or `None` for `optimizer`.
            balancer: A `balancers.Balancer`, or its name; `Fixed` for weights set by hand.
            on: `"shared"` or `"all"` variables, in place of the balancer's own `scope`.
            **kwargs: As for `keras.Model.compile`.

        Raises:
            ValueError: If tasks lack a loss, or the balancer works on a representation.
        """
        losses = losses_by_task(loss, self.tasks)
        balancer = balancers.get(balancer)
        scope = balancer.scope if on is None else on
        check_scope(balancer, scope)
        balancer.build(self.tasks)
        if modulator_optimizer is not None and self.modulators:
            optimizer = with_own_optimizer(optimizer, modulator_optimizer, self.modulators)
        super().compile(optimizer=optimizer, metrics=metrics, **kwargs)
        self.task_losses = losses
        self.balancer, self.scope = balancer, scope
        keep_state(self, balancer)

    def fit(self, x: Any = None, *args: Any, callbacks: Any = None, **kwargs: Any) -> Any:
        """As `keras.Model.fit`; an epoch of which every step was left out ends the training.

        Args:
            x: Batches, or one dictionary of all sub-tasks.
            *args: As for `keras.Model.fit`.
            callbacks: As for `keras.Model.fit`.
            **kwargs: As for `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            RuntimeError: If every step of an epoch was left out.
        """
        return super().fit(x, *args, callbacks=with_divergence_check(callbacks), **kwargs)

    def update(self, data: Any) -> dict[str, Tensor]:
        """One step (called by Keras).

        Args:
            data: A batch of sub-tasks of each task.

        Returns:
            Logs.
        """
        x = keras.utils.unpack_x_y_sample_weight(data)[0]
        shared = self.backbone.trainable_variables
        layers = (*self.heads, *self.rates, *self.modulators)
        own = [v for layer in layers for v in layer.trainable_variables]
        scale = backend.share(ops.cast(self.optimizer.scale_loss(ops.ones(())), "float32"))
        learner = TaskLearner(self)
        found = learner.gradients(shared, own, x, scale)
        losses, penalty, (answers, inner), gram, weights, grads = found
        finite = all_finite([losses, *inner.values()], grads, self.optimizer)
        known = self.balancer.variable_gradients(losses, gram)
        backend.apply_gradients(
            self.optimizer,
            [*grads, *(ops.stop_gradient(scale * grad) for grad in known)],
            [*shared, *own, *self.balancer.trainable_variables],
            condition=finite,
        )
        self.balancer.update(losses, gram)
        after_step(learner, x, losses)
        counted = ops.cast(finite, "float32")
        self.skipped.update_state(backend.share(1.0 - counted))
        for number, task in enumerate(self.tasks):
            self.trackers[f"{task}_weight"].update_state(weights[number])
        loss = ops.where(finite, ops.sum(losses) + penalty, 0.0)
        return self._judge(x, answers, inner, loss, counted, losses)

    def evaluate_update(self, data: Any) -> dict[str, Tensor]:
        """One step of an evaluation (called by Keras).

        Args:
            data: A batch of sub-tasks of each task.

        Returns:
            Logs.
        """
        x = keras.utils.unpack_x_y_sample_weight(data)[0]
        found = self.run_tasks(x, learns=False, training=False)
        answers = answers_of(found)
        losses = query_losses(self, x, answers)
        inner = {task: one.inner for task, one in found.items()}
        logs = self._judge(x, answers, inner, ops.sum(losses), ops.ones(()), losses)
        return {
            name: value
            for name, value in logs.items()
            if name != "skipped" and not name.endswith(("_weight", "_modulated_loss"))
        }

    def run_tasks(self, inputs: Any, learns: bool, training: bool | None) -> dict[str, TaskPass]:
        """Runs each task on its batch of sub-tasks.

        Args:
            inputs: As for the call.
            learns: Whether there are to be un-modulated outputs beside modulated ones.
            training: As for the call.

        Returns:
            What each pass gives, by task.
        """
        if self.task_losses is None:
            raise ValueError(
                "The model must be compiled with a loss for each task, which it adapts by. "
                "Received: none. Call `compile(optimizer, loss)` first."
            )
        check_batch(inputs, self.tasks, every=learns)
        take = self.steps if training or self.test_steps is None else self.test_steps
        losses, parts = self.task_losses, self.parts
        return {
            task: parts[task].run(meta_batch(inputs[task]), losses[task], take, learns)
            for task in self.tasks
            if task in inputs
        }

    def _judge(
        self, x: Any, answers: Any, inner: Any, loss: Tensor, counted: Tensor, losses: Tensor
    ) -> dict[str, Tensor]:
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=counted)
        for number, task in enumerate(self.tasks):
            value = ops.where(counted > 0, losses[number], 0.0)
            self.trackers[f"{task}_loss"].update_state(value, sample_weight=counted)
            bad = ops.logical_not(ops.all(ops.isfinite(inner[task]), axis=-1))
            self.diverged.update_state(ops.cast(bad, "float32"))
        return self.compute_metrics(x, None, answers)

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        # On the batch as it comes: Keras builds the metrics so, before the first step.
        return super().compute_metrics(None, *for_metrics(x, y_pred, self.tasks))

    def get_compile_config(self) -> dict[str, Any]:
        """Returns what `compile_from_config` takes."""
        config = super().get_compile_config()
        if config:
            serialize = keras.saving.serialize_keras_object
            config["loss"] = {task: serialize(loss) for task, loss in self.task_losses.items()}
            config["balancer"] = serialize(self.balancer)
            config["on"] = self.scope
            config.pop("modulator_optimizer", None)
        return config

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
        heads = dict(zip(self.tasks, self.heads, strict=True))
        modulators = dict(zip(self.modulated_tasks, self.modulators, strict=True))
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "backbone": serialize(self.backbone),
            "heads": {task: serialize(head) for task, head in heads.items()},
            "modulators": {task: serialize(one) for task, one in modulators.items()},
            "domain_tasks": list(self.domain_tasks),
            "steps": self.steps,
            "learning_rate": self.rates[0].learning_rate,
            "learn_rates": self.rates[0].learn,
            "first_order": self.first_order,
            "query_moments": self.query_moments,
            "test_steps": self.test_steps,
            "modulated": self.modulated,
            "vectorize": self.vectorize,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MultiTaskMetaLearner":
        load = keras.saving.deserialize_keras_object
        parts = {
            name: {task: load(layer) for task, layer in config[name].items()}
            for name in ("heads", "modulators")
        }
        return cls(**{**config, **parts, "backbone": load(config["backbone"])})
