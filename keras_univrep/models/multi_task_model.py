"""One network of several tasks, trained under a balancer."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend, balancers
from keras_univrep.balancers.balancer import SCOPES, check_choice
from keras_univrep.layers.domain_bank import unlocked
from keras_univrep.models._epoch_checks import EpochChecks
from keras_univrep.models._step_guard import (
    OTHERS,
    broken_parts,
    copies,
    exempt_from_decay,
    float_variables,
    keep_if,
    moving_variables,
    steps_taken,
)
from keras_univrep.models._task_gradients import forward, gradients, total
from keras_univrep.models._task_losses import losses_by_task, task_losses
from keras_univrep.models._task_parts import Shared, TaskParts
from keras_univrep.models._task_tracking import size_of, track_step
from keras_univrep.types import Shape, Tensor


@keras.saving.register_keras_serializable(package="keras_univrep")
class MultiTaskModel(backend.TrainStep, keras.Model):
    """Trains a network with an output for each task under any of the `balancers`.

    Equation:
        li2022, eq. 2, for the trunk phi that tasks share and the head psi_t of each:

            min over phi, psi_1 .. psi_T  of  1 / N sum_n sum_t lambda_t L_t(n)

        The shared variables move along `sum_t w_t g_t`, the heads along `sum_t h_t g_t`, with
        `w = balancer(losses, gram)` and `h = balancer.head_weights(losses, w)`. Penalties of the
        network are added with the weight 1.

        | symbol | here |
        |---|---|
        | phi | variables that `shared` tells, or of `network` where there are `heads` |
        | psi_t | all other variables |
        | g_t | gradient of the loss of task t |

    Differences:
        One forward pass, and one backward pass for each task if the balancer looks at gradients,
        else one in all. Where it looks at the representation, the backward passes of the tasks end
        there, and one goes on through the trunk: the same step, as the sum is linear.

    Args:
        network: A functional model with a dictionary of outputs by task. With `heads`, any built
            model that gives what the heads take. Any other built model that returns a dictionary
            needs `tasks` and a predicate as `shared`, unless it has `tasks` and
            `shared_variables` itself, as `DenseDistiller`.
        heads: A layer or model for each task, called on the output of `network`; or `None`.
        shared: Name of the last shared layer of a functional network, or names where the heads
            begin at several; or a predicate of variables (register it, to save the model); `None`
            takes what more than one output depends on.
        tasks: Names of the tasks in order; by default that of the outputs or heads.
        auxiliary: `{output: task}` of outputs that learn from the targets of a task as well (deep
            supervision); by default what the network has under this name. They are computed while
            training alone, and their losses are part of the loss of the task.
        auxiliary_weight: Weight of each of these losses in that of its task.
        log_cosines: Whether to log the cosine between the gradients of each two tasks, which
            takes a backward pass for each task whatever the balancer.
        **kwargs: `name` and `dtype` of a Keras model.

    Call arguments:
        inputs: What the network takes, (batch, ...).
        training: As for any layer.

    Returns:
        Outputs, `{task: (batch, ...)}`.

    Raises:
        ValueError: If the network's outputs are not named, or what is shared is not to be found.
        TypeError: If `heads` is no dictionary.

    Example:
        >>> import numpy as np
        >>> from keras_univrep.models import MultiTaskModel
        >>> inputs = keras.Input((8,))
        >>> features = keras.layers.Dense(4, activation="relu", name="trunk")(inputs)
        >>> outputs = {name: keras.layers.Dense(1, name=name)(features) for name in ("a", "b")}
        >>> model = MultiTaskModel(keras.Model(inputs, outputs), shared="trunk")
        >>> model.compile("sgd", {"a": "mse", "b": "mae"}, balancer="mgda_ub")
        >>> x, y = np.ones((6, 8)), {"a": np.ones((6, 1)), "b": np.zeros((6, 1))}
        >>> sorted(model.fit(x, y, verbose=0).history)
        ['a_loss', 'a_weight', 'b_loss', 'b_weight', 'loss']

    References:
        Li, Liu, Bilen. Universal representations: a unified look at multiple task and domain
        learning. 2022.
    """

    def __init__(
        self,
        network: keras.Model,
        heads: Mapping[str, Any] | None = None,
        shared: Shared = None,
        tasks: Sequence[str] | None = None,
        auxiliary: Mapping[str, str] | None = None,
        auxiliary_weight: float = 1.0,
        log_cosines: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(network, keras.Model):
            raise TypeError(
                "`network` must be a Keras model. "
                f"Received: {type(network).__name__}. Wrap its layers in a `keras.Model`."
            )
        if not network.built:
            raise ValueError(
                "`network` must be built. Received: one without weights. Call it on a batch first."
            )
        auxiliary = getattr(network, "auxiliary", {}) if auxiliary is None else auxiliary
        self.parts = TaskParts(network, heads, shared, tasks, auxiliary)
        self.tasks = self.parts.tasks
        self.auxiliary = dict(auxiliary)
        self.auxiliary_weight = auxiliary_weight
        self.network = network
        # Under one name each, as the file of the weights lists what a model holds by attribute.
        self.heads = [] if heads is None else list(heads.values())
        self.log_cosines = log_cosines
        self.task_losses: Any = None
        self.balancer: balancers.Balancer = balancers.Uniform()
        self.balancer_states: list[keras.Layer] = []
        self.scope = "shared"
        pairs = [f"{a}_{b}" for i, a in enumerate(self.tasks) for b in self.tasks[i + 1 :]]
        names = [f"{task}_{kind}" for kind in ("loss", "weight") for task in self.tasks]
        names += [f"{pair}_cosine" for pair in pairs if log_cosines]
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}
        self.broken = self.add_weight(
            shape=(len(self.tasks) + len(OTHERS),), initializer="zeros", trainable=False,
            name="broken",
        )  # fmt: skip
        self.build(None)

    def build(self, input_shape: Shape | None) -> None:
        if self.built:
            return
        for head in self.heads:
            if not head.built:
                raise ValueError(
                    f"The heads must be built. Received: {head.name!r} without weights. Call each "
                    "on the output of the network first."
                )
        self.built: bool = True

    def call(self, inputs: Any, training: bool | None = None) -> dict[str, Tensor]:
        outputs = self.network(inputs, training=training)
        if not self.heads:
            wanted = (*self.tasks, *self.auxiliary) if training else self.tasks
            return {name: outputs[name] for name in wanted}
        return self.parts.call_heads(keras.tree.flatten(outputs), outputs, bool(training))

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        metrics: Any = None,
        balancer: Any = "uniform",
        on: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Configures training.

        Args:
            optimizer: As for `keras.Model.compile`.
            loss: `{task: loss}`, or one loss for all tasks.
            metrics: As for `keras.Model.compile`, by task.
            balancer: A `balancers.Balancer`, or its name. Its variables are saved with the model;
                the optimizer's decoupled weight decay leaves them alone, but they count in a norm
                by which it clips all gradients.
            on: Whose gradients the balancer looks at, in place of its own `scope`: `"shared"`,
                `"all"`, `"last_shared"`, `"representation"` or `"representation_mean"`.
            **kwargs: As for `keras.Model.compile`, without `loss_weights`: see `balancers.Fixed`.

        Raises:
            ValueError: If tasks lack a loss, or the balancer works on a representation and the
                end of the trunk is not known.
        """
        if kwargs.get("loss_weights") is not None:
            raise ValueError(
                "`loss_weights` must be None, as the balancer weighs the losses. Received: "
                f"loss_weights={kwargs['loss_weights']!r}. Pass "
                "`balancer=keras_univrep.balancers.Fixed(loss_weights)`."
            )
        losses = losses_by_task(loss, self.tasks)
        balancer = balancers.get(balancer)
        scope = balancer.scope if on is None else check_choice("on", on, SCOPES)
        if hasattr(balancer, "combine") and scope not in ("shared", "representation"):
            raise ValueError(
                f"{type(balancer).__name__} works on 'shared' or 'representation'. "
                f"Received: on={on!r}. Choose one of these."
            )
        wanted = scope.startswith("representation") and balancer.needs_gradients
        if wanted and not self.parts.has_representation:
            raise ValueError(
                f"A balancer on the {scope!r} needs to know where the trunk ends. Received: "
                f"shared={self.parts.shared!r} without heads. Name the last shared layer as "
                "`shared`, or pass `on='shared'`."
            )
        balancer.build(self.tasks)
        super().compile(optimizer=optimizer, metrics=metrics, **kwargs)
        exempt_from_decay(self.optimizer, balancer.trainable_variables)
        self.task_losses = losses
        self.balancer, self.scope = balancer, scope
        if [id(state) for state in self.balancer_states] != [id(balancer.state)]:
            with unlocked(self):
                for state in list(self.balancer_states):
                    self.balancer_states.remove(state)
                self.balancer_states.append(balancer.state)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        **kwargs: Any,
    ) -> Any:
        """As `keras.Model.fit`; an epoch with a loss that is no number ends the training.

        A step whose losses or gradients are infinite or NaN is not taken: variables, moving
        statistics and the balancer stay as they were.

        Args:
            x: As for `keras.Model.fit`.
            y: Targets, `{task: (batch, ...)}`, unless `x` is a data set.
            batch_size: As for `keras.Model.fit`.
            epochs: As for `keras.Model.fit`.
            verbose: As for `keras.Model.fit`.
            callbacks: As for `keras.Model.fit`.
            **kwargs: As for `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            RuntimeError: If a loss or gradient became infinite or NaN; the error names it.
        """
        own = EpochChecks()
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(own)
        else:
            callbacks = [own, *(callbacks if isinstance(callbacks, (list, tuple)) else
                                [callbacks] if callbacks is not None else [])]  # fmt: skip
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def update(self, data: Any) -> dict[str, Tensor]:
        """One step (called by Keras).

        Args:
            data: A batch, `(x, {task: y})` or `(x, {task: y}, sample_weight)`.

        Returns:
            Logs.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        shared, own = self.parts.shared_variables(), self.parts.own_variables()
        scale = backend.share(ops.cast(self.optimizer.scale_loss(ops.ones(())), "float32"))
        batch = (x, y, sample_weight)
        statistics = moving_variables([self.network, *self.heads])
        before = copies(statistics)
        losses, penalty, y_pred, gram, weights, grads = gradients(self, shared, own, batch, scale)
        grads += [
            ops.stop_gradient(scale * grad)
            for grad in self.balancer.variable_gradients(losses, gram)
        ]
        bad = broken_parts(losses, penalty, grads, self.optimizer)
        finite = backend.in_every_replica(ops.logical_not(ops.any(bad)))
        keep_if(finite, statistics, before)
        steps = steps_taken(self.optimizer)
        variables = [*shared, *own, *self.balancer.trainable_variables]
        backend.apply_gradients(self.optimizer, grads, variables, condition=finite)
        kept = float_variables(self.balancer.state)
        before = copies(kept)
        self.balancer.update(losses, gram)
        keep_if(finite, kept, before)
        if self.balancer.needs_losses_after:
            # What this pass does to moving statistics is dropped.
            again = backend.functional(lambda: ops.stack(forward(self, *batch)[0]), [])
            after = ops.stop_gradient(again([])[0])
            before = copies(kept)
            self.balancer.after_step(losses, after[: len(self.tasks)])
            keep_if(steps_taken(self.optimizer) > steps, kept, before)
        track_step(self, x, losses, penalty, gram, weights, bad)
        y_pred = {task: y_pred[task] for task in self.tasks}
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        losses = self.losses_of(y, y_pred, sample_weight)
        for task, loss in zip(self.tasks, losses, strict=True):
            self.trackers[f"{task}_loss"].update_state(
                backend.whole(loss), sample_weight=size_of(x)
            )
        return sum(losses) + backend.share(total(self.losses))

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        # Nothing is balanced in an evaluation.
        logs = super().compute_metrics(x, y, y_pred, sample_weight)
        hidden = {name for name in self.trackers if not name.endswith("_loss")}
        return {name: value for name, value in logs.items() if name not in hidden}

    def get_compile_config(self) -> dict[str, Any]:
        """Returns what `compile_from_config` takes."""
        config = super().get_compile_config()
        if config:
            serialize = keras.saving.serialize_keras_object
            config["loss"] = {task: serialize(loss) for task, loss in self.task_losses.items()}
            config["balancer"] = serialize(self.balancer)
            config["on"] = self.scope
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
        heads, shared = self.parts.heads, self.parts.shared
        return {
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "network": serialize(self.network),
            # As pairs: the file of a configuration does not keep the order of a dictionary.
            "heads": None if heads is None else [[t, serialize(h)] for t, h in heads.items()],
            "shared": serialize(shared) if callable(shared) else shared,
            "tasks": list(self.tasks),
            "auxiliary": [list(pair) for pair in self.auxiliary.items()],
            "auxiliary_weight": self.auxiliary_weight,
            "log_cosines": self.log_cosines,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "MultiTaskModel":
        """Returns a model with this configuration.

        Args:
            config: What `get_config` returned.
            custom_objects: As for `keras.saving.deserialize_keras_object`.
        """
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        config["network"] = deserialize(config["network"], custom_objects)
        config["auxiliary"] = dict(config["auxiliary"])
        if config["heads"] is not None:
            config["heads"] = {t: deserialize(h, custom_objects) for t, h in config["heads"]}
        if isinstance(config["shared"], dict):
            config["shared"] = deserialize(config["shared"], custom_objects)
        return cls(**config)

    def losses_of(self, y: Any, y_pred: Any, sample_weight: Any = None) -> list[Tensor]:
        """Returns the loss of each task, scalars, in the order of `tasks`.

        Args:
            y: Targets, `{task: (batch, ...)}`.
            y_pred: Outputs, `{task: (batch, ...)}`, with the auxiliary ones or without.
            sample_weight: Weights of the samples, for all tasks or by task, or `None`.
        """
        return task_losses(
            self.task_losses, y, y_pred, sample_weight, self.auxiliary, self.auxiliary_weight
        )
