"""A meta-learner as the balancers' gradients take a model."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep import backend
from keras_univrep.layers.domain_bank import unlocked
from keras_univrep.models._meta_batch import meta_batch, over_samples
from keras_univrep.models._meta_losses import query_loss
from keras_univrep.models._task_gradients import forward, on_variables, one_backward
from keras_univrep.types import Tensor


class TaskLearner:
    """The losses of its tasks carry the gradients of lekkala2020, eq. 4 and 5."""

    def __init__(self, model: Any) -> None:
        self.model, self.tasks = model, model.tasks
        self.balancer, self.scope = model.balancer, model.scope

    @property
    def losses(self) -> list[Tensor]:
        """Penalties."""
        return self.model.losses

    def __call__(self, x: Any, training: bool) -> Any:
        """Answers and inner losses by task."""
        self.found = self.model.run_tasks(x, learns=True, training=training)
        return answers_of(self.found), {task: one.inner for task, one in self.found.items()}

    def losses_of(self, x: Any, answers: Any, sample_weight: Any) -> list[Tensor]:
        """Un-modulated losses, with the gradients of the modulated ones for the modulators."""
        losses = []
        for task in self.tasks:
            one, query = self.found[task], meta_batch(x[task]).query
            of_task = self.model.task_losses[task]
            loss = query_loss(of_task, query, one.outputs)  # lekkala2020 eq. 4
            if one.modulated is not None:
                modulated = query_loss(of_task, query, one.modulated)  # lekkala2020 eq. 5
                tracker = self.model.trackers[f"{task}_modulated_loss"]
                tracker.update_state(backend.whole(ops.stop_gradient(modulated)))
                if one.divergence is not None:
                    modulated = modulated + backend.share(ops.mean(one.divergence))
                # Its gradient, which is the modulator's alone, without its value.
                loss = loss + modulated - ops.stop_gradient(modulated)
            losses.append(loss)
        return losses

    def gradients(self, shared: Any, own: Any, x: Any, scale: Tensor) -> tuple:
        """As `one_backward` or `on_variables`, by what the balancer looks at."""
        if self.balancer.needs_gradients:
            return on_variables(self, shared, own, (x, x, None), scale)
        return one_backward(self, shared + own, (x, x, None), scale)


def check_scope(balancer: Any, scope: str) -> None:
    """Refuses a balancer that looks at what the inner loop goes around."""
    if scope not in ("shared", "all") and balancer.needs_gradients:
        raise ValueError(
            "A balancer must look at 'shared' or 'all' variables here, as the inner loop goes "
            f"around any representation. Received: {scope!r}. Pass `on='shared'`."
        )


def check_batch(inputs: Any, tasks: Sequence[str], every: bool) -> None:
    """Refuses a batch of unknown tasks, of none, or not of every task."""
    came = sorted(inputs) if isinstance(inputs, Mapping) else []
    if not came or not set(came) <= set(tasks) or (every and set(came) != set(tasks)):
        found = came if isinstance(inputs, Mapping) else type(inputs).__name__
        raise ValueError(
            f"A batch must hold sub-tasks of {list(tasks)}. Received: {found}. Pass "
            "{task: {'support': (x, y), 'query': (x, y)}}."
        )


def answers_of(found: Any) -> dict[str, Tensor]:
    """Modulated outputs where there are some, else the others."""
    return {t: one.outputs if one.modulated is None else one.modulated for t, one in found.items()}


def after_step(learner: TaskLearner, x: Any, losses: Tensor) -> None:
    """Tells a balancer that asks for them the losses after a step."""
    balancer = learner.balancer
    if balancer.needs_losses_after:
        # What this pass does to moving statistics is dropped.
        again = backend.functional(lambda: ops.stack(forward(learner, x, x, None)[0]), [])
        after = ops.stop_gradient(again([])[0])
        balancer.after_step(losses, after[: len(learner.tasks)])


def keep_state(model: Any, balancer: Any) -> None:
    """Makes the balancer's variables, and no others, part of the model."""
    if [id(state) for state in model.balancer_states] != [id(balancer.state)]:
        with unlocked(model):
            for state in list(model.balancer_states):
                model.balancer_states.remove(state)
            model.balancer_states.append(balancer.state)


def query_losses(model: Any, x: Any, answers: Mapping[str, Tensor]) -> Tensor:
    """Losses of the answers, (tasks,)."""
    losses = [
        query_loss(model.task_losses[task], meta_batch(x[task]).query, answers[task])
        for task in model.tasks
    ]
    return backend.whole(ops.stack(losses))


def for_metrics(x: Any, answers: Mapping[str, Tensor], tasks: Sequence[str]) -> tuple:
    """Targets, answers and weights of the queries of each task, (sub-tasks * samples, ...)."""
    queries = {task: meta_batch(x[task]).query for task in tasks}
    y = {task: over_samples(query.y) for task, query in queries.items()}
    y_pred = {task: over_samples(answers[task]) for task in tasks}
    if all(query.weight is None for query in queries.values()):
        return y, y_pred, None
    # Keras takes weights of all tasks or of none.
    weights = {
        task: ops.ones(ops.shape(query.x)[:2]) if query.weight is None else query.weight
        for task, query in queries.items()
    }
    return y, y_pred, {task: over_samples(weight) for task, weight in weights.items()}


def with_own_optimizer(
    optimizer: Any, own: Any, layers: Sequence[keras.Layer]
) -> keras.optimizers.Optimizer:
    """An optimizer that leaves the variables of some layers, by their names, to another."""
    names = "|".join(re.escape(layer.name) for layer in layers)
    of_layers = {rf"(.*/)?({names})/.*": keras.optimizers.get(own)}
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.get(optimizer), of_layers)
    )
