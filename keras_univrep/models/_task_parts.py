"""What the tasks of a network share, and where its shared trunk ends."""

import collections
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_univrep.types import Tensor

Shared = str | Sequence[str] | Callable[[keras.Variable], bool] | None


class TaskParts:
    """The trunk, the heads and the shared variables of a network of several tasks."""

    def __init__(
        self,
        network: keras.Model,
        heads: Mapping[str, Any] | None,
        shared: Shared,
        tasks: Sequence[str] | None,
        auxiliary: Mapping[str, str],
    ) -> None:
        self.network = network
        self.heads = None if heads is None else dict(heads)
        self.shared = shared
        functional = hasattr(network, "operations") and hasattr(network, "outputs")
        self.tasks = _task_names(network, heads, tasks, functional, auxiliary)
        self.auxiliary = dict(auxiliary)
        _check_auxiliary(self.auxiliary, self.tasks, network, heads, functional)
        # As models of their own, not attributes of a model: what they hold is the network's.
        self._trunk: keras.Model | None = None
        self._heads: keras.Model | None = None
        if heads is not None and shared is not None:
            raise ValueError(
                "`shared` must be None if `heads` are given, as the network is what they share. "
                f"Received: shared={shared!r}. Leave it out."
            )
        if isinstance(shared, (str, list, tuple)):
            if not (functional or hasattr(network, "split")):
                raise ValueError(
                    "Names of shared layers need a functional network. Received: "
                    f"shared={shared!r} with {type(network).__name__}. Pass a predicate of "
                    "variables, or the trunk as `network` and the `heads`."
                )
            split = network.split(shared) if hasattr(network, "split") else cut(network, shared)
            self._trunk, self._heads = split
        self.told = getattr(network, "shared_variables", None) is not None
        if heads is None and shared is None and not (functional or self.told):
            raise ValueError(
                "What is shared must be told for a network that is not functional. Received: "
                f"{type(network).__name__} with shared=None. Pass a predicate of variables, or "
                "the trunk as `network` and the `heads`."
            )

    @property
    def has_representation(self) -> bool:
        """Whether it is known where the trunk ends."""
        return self.heads is not None or self._trunk is not None

    @property
    def trunk(self) -> keras.Model:
        """From inputs to the representation."""
        return self.network if self.heads is not None else self._trunk

    def call_heads(self, values: Sequence[Tensor], structure: Any, training: bool) -> Any:
        """From the tensors of the representation to the outputs by task."""
        if self.heads is not None:
            features = keras.tree.pack_sequence_as(structure, list(values))
            return {
                task: head(features, training=training) if _trains(head) else head(features)
                for task, head in self.heads.items()
            }
        return self._heads(list(values), training=training)  # type: ignore[misc]

    def head_losses(self) -> list[Tensor]:
        """Penalties of the heads."""
        if self.heads is None:
            return list(self._heads.losses)  # type: ignore[union-attr]
        return [loss for head in self.heads.values() for loss in head.losses]

    def shared_variables(self) -> list[keras.Variable]:
        """Trainable variables that the tasks share."""
        if self.has_representation:
            return list(self.trunk.trainable_variables)
        variables = self.network.trainable_variables
        if callable(self.shared):
            found = [variable for variable in variables if self.shared(variable)]
        elif self.told:
            found = list(self.network.shared_variables)
        else:
            found = self._reached_by_several()
        if not found:
            raise ValueError(
                "Some trainable variables must be shared. Received: none, of "
                f"{len(variables)} in the network. Check `shared`, and what is frozen."
            )
        return found

    @functools.cached_property
    def _ways(self) -> list[keras.Model]:
        """From inputs to the outputs of each task, made once: it takes long beside a step."""
        ways = []
        for task in self.tasks:
            names = [task, *(name for name, of in self.auxiliary.items() if of == task)]
            ways.append(keras.Model(self.network.input, [self.network.output[n] for n in names]))
        return ways

    def _reached_by_several(self) -> list[keras.Variable]:
        """Trainable variables on the way to more than one task; of one task, all."""
        counts = collections.Counter(
            id(variable) for way in self._ways for variable in way.trainable_variables
        )
        least = min(2, len(self.tasks))
        return [v for v in self.network.trainable_variables if counts[id(v)] >= least]

    def own_variables(self) -> list[keras.Variable]:
        """The other trainable variables."""
        shared = {id(variable) for variable in self.shared_variables()}
        variables = list(self.network.trainable_variables)
        for head in (self.heads or {}).values():
            variables += head.trainable_variables
        return [variable for variable in variables if id(variable) not in shared]


def _task_names(
    network: keras.Model,
    heads: Any,
    tasks: Sequence[str] | None,
    functional: bool,
    auxiliary: Mapping[str, str],
) -> tuple[str, ...]:
    outputs = network.output if functional else None
    if heads is not None:
        if not isinstance(heads, Mapping) or not heads:
            raise TypeError(
                "`heads` must be a dictionary of a layer for each task. "
                f"Received: heads={heads!r}. Name the task of each."
            )
        found = tuple(heads)
    elif isinstance(outputs, Mapping):
        found = tuple(name for name in outputs if name not in auxiliary)
    elif functional:
        raise ValueError(
            "The network must return a dictionary of outputs by task. "
            f"Received: outputs={outputs!r}. Build it as "
            "`keras.Model(inputs, {'depth': ..., 'normals': ...})`."
        )
    elif tasks is None and getattr(network, "tasks", None):
        return tuple(network.tasks)
    elif tasks is None:
        raise ValueError(
            "`tasks` must name the outputs of a network that is not functional. "
            f"Received: tasks=None with {type(network).__name__}. Pass their names."
        )
    else:
        return tuple(tasks)
    if tasks is not None and set(tasks) != set(found):
        raise ValueError(
            f"`tasks` must name the outputs of the network. Received: tasks={list(tasks)} with "
            f"the outputs {list(found)}. Leave it out, or give their order."
        )
    return tuple(tasks) if tasks is not None else found


def cut(network: keras.Model, shared: str | Sequence[str]) -> tuple[keras.Model, keras.Model]:
    """The network up to the outputs of the named layers, and from there on."""
    names = [shared] if isinstance(shared, str) else list(shared)
    layers = [network.get_layer(name) for name in names]
    if any(isinstance(layer, keras.Model) for layer in layers):
        # Its output is that of a graph of its own.
        raise ValueError(
            f"`shared` must name layers. Received: shared={shared!r}, a model within the network. "
            'Put `keras.layers.Identity(name="trunk")` behind it, and pass `shared="trunk"`.'
        )
    features = [layer.output for layer in layers]
    trunk = keras.Model(network.input, features, name="trunk")
    try:
        heads = keras.Model(features, network.output, name="heads")
    except ValueError as error:
        raise ValueError(
            "The outputs must depend on the inputs through the shared layers alone. Received: "
            f"shared={shared!r}, which some way goes around. Name all layers where the heads "
            "begin, or pass a predicate of variables."
        ) from error
    again = {id(v) for v in trunk.trainable_variables}
    if again & {id(v) for v in heads.trainable_variables}:
        raise ValueError(
            "No layer may come both before and after the end of the trunk. Received: "
            f"shared={shared!r}. Pass a predicate of variables."
        )
    return trunk, heads


def _check_auxiliary(
    auxiliary: Mapping[str, str],
    tasks: Sequence[str],
    network: keras.Model,
    heads: Any,
    functional: bool,
) -> None:
    known = set(network.output) if functional and heads is None else set(auxiliary)
    if heads is not None:
        known = set()
    if not set(auxiliary) <= known - set(tasks) or not set(auxiliary.values()) <= set(tasks):
        raise ValueError(
            "`auxiliary` must name outputs of the network beside those of the tasks, and the task "
            f"of each. Received: auxiliary={dict(auxiliary)}, tasks={list(tasks)}, outputs="
            f"{sorted(known)}. Name outputs that there are, or pass `auxiliary={{}}`."
        )


def _trains(layer: Any) -> bool:
    return isinstance(layer, keras.Model) or getattr(layer, "_call_has_training_arg", False)
