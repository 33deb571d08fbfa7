"""Training on tasks, to each of which a network adapts by gradient steps."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.models._divergence_check import all_finite, with_divergence_check
from keras_univrep.models._inner_loop import over_tasks
from keras_univrep.models._meta_batch import (
    MetaBatch,
    check_targets,
    meta_batch,
    over_samples,
)
from keras_univrep.models._meta_losses import mean_loss, query_loss
from keras_univrep.models._samples import Samples
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class MetaLearner(backend.TrainStep, keras.Model):
    """Base of models that adapt to the support set of a task before they answer its queries.

    A leaf implements `adapted_outputs`; this class trains it under plain `compile` and `fit`. A
    batch is a batch of tasks; the loss of a task is that of its queries after adaptation, and the
    loss of the batch is the mean over the tasks. An inner loss that is infinite or NaN spoils the
    gradient of the whole batch: the step is then left out, weights and optimizer staying as they
    are. The metric "diverged" counts such tasks and "skipped" such steps, over the epoch; an epoch
    of which every step was left out ends the training with an error.

    Equation:
        Finn et al., 2017, eq. 1, for E tasks with support sets S_e and query sets Q_e:

            min over theta of  1/E sum_e L(Q_e; adapted(theta, S_e))

        | symbol | here |
        |---|---|
        | theta | trainable variables |
        | adapted | what the leaf does with a support set |
        | L | `loss` of `compile`, the mean over samples |

    Args:
        steps: Gradient steps on each support set, from 0 on.
        test_steps: Steps in `evaluate` and `predict`; `None` for `steps`.
        vectorize: Whether the tasks of a batch become an axis of each operation; False to
            compute one after another; `None` for what was faster where it was measured, which
            the leaf tells.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: {"support": (x, y), "query": (x, y)}, all (tasks, samples, ...); a third entry is
            the weights of the samples, (tasks, samples). Queries need a y to learn from or to be
            judged by. Or an item of `datasets.episode_batches`, with or without the axis of
            episodes, in which labels of -1 mark padding that has no loss.
        training: Whether to take `steps` or `test_steps`.

    Returns:
        Outputs of the queries, (tasks, samples, ...).

    Raises:
        ValueError: If a task has no support set, or targets do not have the shape of the outputs.
        RuntimeError: In `fit`, if every step of an epoch was left out.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.models import MetaLearner
        >>> class NearestTarget(MetaLearner):
        ...     def adapted_outputs(self, support, query, steps):
        ...         distances = ops.abs(query.x - ops.swapaxes(support.x, 1, 2))
        ...         nearest = ops.argmin(distances, axis=-1)[..., None]
        ...         return ops.take_along_axis(support.y, nearest, axis=1), ops.zeros((1, 1))
        >>> x = np.array([[[0.0], [1.0]]], "float32")
        >>> model = NearestTarget(steps=1)
        >>> model.compile(loss="mse")
        >>> model.test_on_batch({"support": (x, 2 * x), "query": (x, 2 * x)}, return_dict=True)
        {'diverged': 0.0, 'loss': 0.0}

    References:
        Finn, Abbeel, Levine. Model-agnostic meta-learning for fast adaptation of deep networks.
        2017.
    """

    # Keras's, on TensorFlow, traces the call on inputs of its own making.
    _default_save_signature = None

    def __init__(
        self,
        steps: int = 1,
        test_steps: int | None = None,
        vectorize: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("steps", steps), ("test_steps", test_steps)):
            if name == "test_steps" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ValueError(
                    f"`{name}` must be an integer of at least 0. Received: {name}={value!r}. Pass "
                    "0 to adapt nothing."
                )
        if vectorize not in (None, True, False):
            raise ValueError(
                "`vectorize` must be None, True or False. Received: "
                f"vectorize={vectorize!r}. Pass None for the form that was faster."
            )
        self.steps = steps
        self.test_steps = test_steps
        self.vectorize = vectorize
        self.task_loss: Any = None
        self.inner_loss: Any = None
        self.diverged = keras.metrics.Sum(name="diverged")
        self.skipped = keras.metrics.Sum(name="skipped")

    def build(self, input_shape: Shape | None) -> None:
        self.built: bool = True

    def adapted_outputs(
        self, support: Samples, query: Samples, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Adapts to each task and answers its queries; the one method of a leaf.

        Args:
            support: `x`, `y` and `weight` (or None), (tasks, samples, ...).
            query: The same; `y` may be None, and is not to be looked at.
            steps: Number of steps.

        Returns:
            Outputs (tasks, samples, ...), and the loss of the support set before each step, (tasks,
            steps).
        """
        raise NotImplementedError(
            "A leaf of `MetaLearner` must define `adapted_outputs(support, query, steps)`. "
            f"Received: class {type(self).__name__} without it."
        )

    def by_task(
        self, fn: Any, support: Samples, query: Samples, vectorize: bool, unroll: bool = False
    ) -> Any:
        """Runs `fn(support, query)` on the samples of each task, and stacks what it returns.

        Args:
            fn: Function of two `Samples` (samples, ...).
            support: As for `adapted_outputs`.
            query: As for `adapted_outputs`.
            vectorize: What to do where `self.vectorize` is None.
            unroll: As for `over_tasks`.

        Returns:
            A structure of tensors (tasks, ...).
        """
        # A transformation takes tensors alone.
        given = [value for value in (*support, query.x) if value is not None]

        def of_task(parts: Any) -> Any:
            remaining = iter(parts)
            filled = [None if v is None else next(remaining) for v in (*support, query.x)]
            return fn(Samples(*filled[:3]), Samples(filled[3], None, None))

        vectorize = vectorize if self.vectorize is None else self.vectorize
        return over_tasks(of_task, given, vectorize, unroll)

    def support_loss(self, support: Samples, outputs: Tensor) -> Tensor:
        """The inner loss of one task.

        Args:
            support: Samples of the task, (samples, ...).
            outputs: What the network gives for them, (samples, ...).

        Returns:
            A scalar.
        """
        check_targets(support.y, outputs, "support")
        loss = self.inner_loss or self.task_loss
        if loss is None:
            raise ValueError(
                "A meta-learner must be compiled with a loss, which it also adapts by. Received: "
                "none. Call `compile(optimizer, loss)` first."
            )
        return mean_loss(loss, support, outputs)

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        batch = meta_batch(inputs)
        outputs, _ = self.adapted_outputs(batch.support, batch.query, self._steps(training))
        return outputs[0] if batch.single else outputs

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Any = None,
        inner_loss: Any = None,
        **kwargs: Any,
    ) -> None:
        """Configures training.

        Args:
            optimizer: As for `keras.Model.compile`; it takes the outer steps.
            loss: A Keras loss, or function of (y_true, y_pred), of the samples of a task.
            metrics: As for `keras.Model.compile`, on the queries of all tasks.
            inner_loss: The loss of the inner steps; `None` for `loss`.
            **kwargs: Other arguments of `keras.Model.compile`.

        Raises:
            ValueError: If there is no loss.
        """
        if loss is None:
            raise ValueError(
                "`loss` must be a loss: the network adapts by it. Received: loss=None. Pass, for "
                "example, 'mse'."
            )
        super().compile(optimizer=optimizer, metrics=metrics, **kwargs)
        self.task_loss = keras.losses.get(loss)
        self.inner_loss = None if inner_loss is None else keras.losses.get(inner_loss)

    def fit(self, x: Any = None, *args: Any, callbacks: Any = None, **kwargs: Any) -> Any:
        """As `keras.Model.fit`; an epoch of which every step was left out ends the training.

        Args:
            x: Batches of tasks, or one dictionary of all tasks, which holds the targets.
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
        """One outer step (called by Keras).

        Args:
            data: A batch of tasks.

        Returns:
            Logs.
        """
        batch = meta_batch(keras.utils.unpack_x_y_sample_weight(data)[0])
        variables = self.trainable_variables
        loss, (outputs, inner), grads = self.meta_gradients(batch, variables)
        finite = all_finite([loss, inner], grads, self.optimizer)
        backend.apply_gradients(self.optimizer, grads, variables, condition=finite)
        self.skipped.update_state(backend.share(ops.cast(ops.logical_not(finite), "float32")))
        # A mean over the epoch, of the steps that were taken.
        self._track(ops.where(finite, loss, 0.0), ops.cast(finite, "float32"))
        return self._judge(batch, outputs, inner)

    def meta_gradients(
        self, batch: MetaBatch, variables: list[keras.Variable]
    ) -> tuple[Tensor, tuple[Tensor, Tensor], list[Tensor]]:
        """The outer loss of a batch, outputs and inner losses, and the gradients.

        Args:
            batch: A batch of tasks.
            variables: The n variables to move.

        Returns:
            The loss, (outputs, inner losses) and n gradients with the optimizer's loss scale.
        """

        def forward() -> tuple[Tensor, tuple[Tensor, Tensor]]:
            outputs, inner = self.adapted_outputs(batch.support, batch.query, self.steps)
            return self._query_loss(batch, outputs), (outputs, inner)

        return backend.gradients(forward, variables, self.optimizer)

    def evaluate_update(self, data: Any) -> dict[str, Tensor]:
        """One step of an evaluation (called by Keras).

        Args:
            data: A batch of tasks.

        Returns:
            Logs.
        """
        batch = meta_batch(keras.utils.unpack_x_y_sample_weight(data)[0])
        outputs, inner = self.adapted_outputs(batch.support, batch.query, self._steps(False))
        self._track(self._query_loss(batch, outputs), ops.ones(()))
        logs = self._judge(batch, outputs, inner)
        return {name: value for name, value in logs.items() if name != "skipped"}

    def _steps(self, training: bool | None) -> int:
        return self.steps if training or self.test_steps is None else self.test_steps

    def _query_loss(self, batch: MetaBatch, outputs: Tensor) -> Tensor:
        """Mean over the tasks of the loss of their queries, and penalties; a replica's share."""
        total = query_loss(self.task_loss, batch.query, outputs)
        for penalty in self.losses:
            total = total + backend.share(ops.cast(penalty, total.dtype))
        return total

    def _track(self, loss: Tensor, weight: Tensor) -> None:
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(backend.whole(loss), sample_weight=weight)

    def _judge(self, batch: MetaBatch, outputs: Tensor, inner: Tensor) -> dict[str, Tensor]:
        bad = ops.logical_not(ops.all(ops.isfinite(inner), axis=-1))
        self.diverged.update_state(ops.cast(bad, "float32"))
        return self.compute_metrics(
            None,
            over_samples(batch.query.y),
            over_samples(outputs),
            over_samples(batch.query.weight),
        )

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        if y is None:  # Keras builds the metrics before the first step, on the batch as it comes.
            query = meta_batch(x).query
            y, y_pred, sample_weight = map(over_samples, (query.y, y_pred, query.weight))
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_compile_config(self) -> dict[str, Any]:
        """Returns what `compile_from_config` takes."""
        config = super().get_compile_config()
        if config:
            for name, loss in (("loss", self.task_loss), ("inner_loss", self.inner_loss)):
                config[name] = keras.saving.serialize_keras_object(loss)
        return config

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compiles as before saving, so that a loaded model goes on with its optimizer's state.

        Args:
            config: What `get_compile_config` returned.
        """
        # Keras skips this for a class with its own `compile`.
        self.compile(**keras.saving.deserialize_keras_object(dict(config)))
        self.optimizer.build(self.trainable_variables)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "steps": self.steps,
            "test_steps": self.test_steps,
            "vectorize": self.vectorize,
        }
