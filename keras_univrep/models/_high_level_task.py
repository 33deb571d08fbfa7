"""What one high-level task of a meta-learner does with a batch of its sub-tasks."""

from collections.abc import Collection, Mapping
from typing import Any

import keras
from keras import ops

from keras_univrep.layers import ProbabilisticAttentionModulator
from keras_univrep.losses import gaussian_kl
from keras_univrep.models._inner_loop import (
    adapt,
    joins_tasks,
    network_function,
    over_tasks,
    tensors_of,
)
from keras_univrep.models._inner_rates import InnerRates
from keras_univrep.models._meta_batch import MetaBatch, check_targets
from keras_univrep.models._meta_losses import mean_loss
from keras_univrep.models._modulation import ModulatedLayers
from keras_univrep.models._samples import Samples
from keras_univrep.models._task_pass import TaskPass
from keras_univrep.models.maml import check_network
from keras_univrep.types import Tensor


class HighLevelTask:
    """Its head and modulator on the shared backbone."""

    def __init__(
        self,
        backbone: keras.Model,
        layers: ModulatedLayers | None,
        head: keras.Layer,
        modulator: keras.Layer | None,
        rates: InnerRates,
        adapts: bool,
        first_order: bool,
        query_moments: str,
        vectorize: bool | None,
    ) -> None:
        self.backbone, self.layers, self.head = backbone, layers, head
        self.modulator, self.rates = modulator, rates
        self.adapts, self.first_order = adapts, first_order
        self.vectorize = joins_tasks(backbone) if vectorize is None else vectorize
        self.by_support = query_moments == "support"
        self.probabilistic = isinstance(modulator, ProbabilisticAttentionModulator)

    def run(self, batch: MetaBatch, loss: Any, steps: int, learns: bool) -> TaskPass:
        """Adapts the head and answers the queries, un-modulated and modulated.

        Args:
            batch: A batch of sub-tasks.
            loss: Keras loss or function, of the inner steps.
            steps: Inner steps of task adaptation.
            learns: Whether to answer un-modulated as well where there is a modulator, each answer
                with its gradients alone: lekkala2020 eq. 4 and 5.

        Returns:
            Outputs, modulated outputs, inner losses, divergences of posterior and prior, and w.
        """
        support, query = batch.support, batch.query
        plain = learns or self.modulator is None
        features, queries, values, outputs, inner = self._first_pass(
            support, query, loss, steps, plain
        )
        if self.modulator is None:
            return TaskPass(outputs, None, inner, None, None)
        weights, divergence = self._weights(support, query, features, queries, learns)
        modulated = self._second_pass(support, query, values, weights)
        return TaskPass(outputs, modulated, inner, divergence, weights)

    def best_weights(
        self, batch: MetaBatch, loss: Any, steps: int, take: int, rate: float
    ) -> Tensor:
        """Weights of channels by gradient steps on all samples of each sub-task, all else held.

        Args:
            batch: A batch of sub-tasks with the targets of the queries.
            loss: As for `run`.
            steps: Inner steps of the head, before.
            take: Gradient steps of the weights, from zero.
            rate: Their rate.

        Returns:
            (sub-tasks, channels).
        """
        layers: Any = self.layers
        support, query = batch.support, batch.query
        values = self._first_pass(support, query, loss, steps, plain=False)[2]
        body, head = layers.function(), network_function(self.head)
        kept = tensors_of(self.backbone.trainable_variables)
        arrays: dict[str, Any] = {
            name: ops.concatenate([ops.cast(first, second.dtype), second], axis=1)
            for name, first, second in zip("xyw", support, query, strict=True)
            if first is not None
        }
        if self.adapts:
            arrays["values"] = values

        def of_task(parts: dict[str, Any]) -> Tensor:
            own = parts.get("values", values)
            samples = Samples(parts["x"], parts["y"], parts.get("w"))

            def of_weights(weights: list[Tensor], number: Any) -> Tensor:
                features, _ = body(kept, (samples.x, weights[0]))
                return mean_loss(loss, samples, head(own, features)[0])

            start = ops.zeros((layers.channels,))
            return adapt(of_weights, [start], rate, take, first_order=True)[0][0]

        return over_tasks(of_task, arrays, self.vectorize)

    def _first_pass(
        self, support: Samples, query: Samples, loss: Any, steps: int, plain: bool
    ) -> tuple[Tensor, Any, list[Tensor], Any, Tensor]:
        body, head = network_function(self.backbone), network_function(self.head)
        weights = tensors_of(self.backbone.trainable_variables)
        start = tensors_of(self.head.trainable_variables)
        count, rates = steps if self.adapts else 0, self.rates.values()
        arrays = _without_none({"x": support.x, "y": support.y, "w": support.weight})
        if plain:
            arrays["query"] = query.x

        def of_task(parts: dict[str, Tensor]) -> dict[str, Any]:
            own = Samples(parts["x"], parts["y"], parts.get("w"))
            features, moments = body(weights, own.x)

            def inner(values: list[Tensor], number: Any) -> Tensor:
                outputs = head(values, features)[0]
                check_targets(own.y, outputs, "support")
                return mean_loss(loss, own, outputs)

            values, losses = adapt(inner, start, rates, count, self.first_order)
            found = {"features": features, "losses": losses}
            if self.adapts:
                found["values"] = values
            if plain:
                queries, _ = body(weights, parts["query"], moments if self.by_support else None)
                of_head = head(values, features)[1] if self.by_support else None
                found["queries"] = queries
                found["outputs"] = head(values, queries, of_head)[0]
            return found

        found = over_tasks(of_task, arrays, self.vectorize)
        return (
            found["features"],
            found.get("queries"),
            found.get("values", start),
            found.get("outputs"),
            found["losses"],
        )

    def _weights(
        self, support: Samples, query: Samples, features: Tensor, queries: Any, learns: bool
    ) -> tuple[Tensor, Any]:
        # Eq. 5 moves the modulator alone.
        given = ops.stop_gradient(features)
        modulator: Any = self.modulator
        if not self.probabilistic:
            return modulator(given, support.y, mask=support.weight), None
        prior = modulator(given, support.y, mask=support.weight)
        if not learns:
            return modulator.sample(prior[0]), None
        posterior = modulator(ops.stop_gradient(queries), query.y, mask=query.weight)
        return modulator.sample(*posterior), gaussian_kl(*posterior, *prior)

    def _second_pass(
        self, support: Samples, query: Samples, values: list[Tensor], weights: Tensor
    ) -> Tensor:
        layers: Any = self.layers
        body, head = layers.function(), network_function(self.head)
        kept = [ops.stop_gradient(v) for v in tensors_of(self.backbone.trainable_variables)]
        values = [ops.stop_gradient(v) for v in values]
        arrays = {"x": query.x, "weights": weights}
        if self.adapts:
            arrays["values"] = values
        if self.by_support:
            arrays["support"] = support.x

        def of_task(parts: dict[str, Any]) -> Tensor:
            moments = of_head = None
            # What all sub-tasks share stays one tensor for all.
            own = parts.get("values", values)
            if self.by_support:
                features, moments = body(kept, (parts["support"], parts["weights"]))
                of_head = head(own, features)[1]
            features, _ = body(kept, (parts["x"], parts["weights"]), moments)
            return head(own, features, of_head)[0]

        return over_tasks(of_task, arrays, self.vectorize)


def check_parts(
    backbone: keras.Model,
    heads: Mapping[str, keras.Layer],
    modulators: Mapping[str, Any],
    domain_tasks: Collection[str],
    layers: ModulatedLayers | None,
    first_order: bool,
) -> None:
    """Refuses parts that do not fit, and builds modulators."""
    for name, given in (("modulators", modulators), ("domain_tasks", domain_tasks)):
        if not set(given) <= set(heads):
            raise ValueError(
                f"`{name}` must name tasks that have a head. Received: {sorted(given)} with the "
                f"heads {sorted(heads)}. Add a head, or leave them out."
            )
    check_network(backbone, "backbone", first_order=True)
    for task, head in heads.items():
        check_network(head, f"heads[{task!r}]", first_order or task in domain_tasks)
    for modulator in modulators.values():
        if layers is not None and modulator.channels != layers.channels:
            raise ValueError(
                f"A modulator must weigh the {layers.channels} channels of the backbone. Received: "
                f"channels={modulator.channels} of {modulator.name!r}. Pass "
                "`MultiTaskMetaLearner.modulated_channels(backbone, modulated)`."
            )
        if not modulator.built:
            # Conv-4 and its like name the channels of their maps; others have a static shape.
            size = getattr(backbone, "filters", None) or backbone.output_shape[-1]
            modulator.build((None, None, int(size)))


def _without_none(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arrays.items() if value is not None}
