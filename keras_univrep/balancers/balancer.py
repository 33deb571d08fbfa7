"""What every balancer is: a map from losses and inner products of gradients to task weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Tensor

SCOPES = ("shared", "all", "last_shared", "representation", "representation_mean")
HEADS = ("sum", "mean", "weighted")


class Balancer:
    """Turns the losses of the tasks, and the Gram matrix of their gradients, into task weights.

    Equation:
        li2022, eq. 2: the shared variables move along d, with g_t the gradient of the loss of
        task t and w = `weights(losses, gram)`:

            d = sum_t w_t g_t

        | symbol | here | shape |
        |---|---|---|
        | L_t | `losses` | (tasks,) |
        | <g_i, g_j> | `gram` | (tasks, tasks) |
        | w | what `weights` returns | (tasks,) |

    Args:
        scope: Whose gradients the Gram matrix is of: `"shared"`, the shared variables; `"all"`,
            with zeros where a task does not reach a variable; `"last_shared"`, the last kernel
            among the shared variables; `"representation"`, the output of the shared trunk;
            `"representation_mean"`, the same averaged over the batch.
        heads: What the variables of one task follow: the `"sum"` of the tasks' gradients (weights
            1), their `"mean"` (weights 1 / tasks), or the sum `"weighted"` as the shared one is.

    Example:
        >>> from keras_univrep.balancers import Balancer
        >>> class Halves(Balancer):
        ...     def weights(self, losses, gram=None):
        ...         return keras.ops.full((self.num_tasks,), 0.5)
        >>> [float(w) for w in Halves()([3.0, 4.0])]
        [0.5, 0.5]

    References:
        - Li, Liu and Bilen, Universal Representations, 2022, sections 3.2 and 4.1.
    """

    # Whether `weights` looks at the Gram matrix: without it one backward pass is enough.
    needs_gradients = False
    # Whether `after_step` wants the losses of the same batch once the variables have moved.
    needs_losses_after = False

    def __init__(self, scope: str = "shared", heads: str = "weighted") -> None:
        self.scope = check_choice("scope", scope, SCOPES)
        self.heads: str | None = check_choice("heads", heads, HEADS)
        self.tasks: tuple[str, ...] = ()
        # A layer, as models save and restore what layers hold.
        self.state: keras.Layer | None = None

    @property
    def built(self) -> bool:
        """Whether the number of tasks is known, and the variables exist."""
        return self.state is not None

    @property
    def num_tasks(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    @property
    def needs_representation(self) -> bool:
        """Whether its own scope is the representation, whose end must be known then."""
        return self.needs_gradients and self.scope.startswith("representation")

    def build(self, tasks: Sequence[str] | int) -> None:
        names = tuple(map(str, range(tasks))) if isinstance(tasks, int) else tuple(tasks)
        if self.built:
            if len(names) != self.num_tasks:
                raise ValueError(
                    "A balancer must keep its number of tasks. Received: "
                    f"{len(names)} tasks after {self.num_tasks}. Make a new one."
                )
            return
        if len(names) < 1 or len(set(names)) != len(names):
            raise ValueError(
                "The names of the tasks must differ, and be one at least. "
                f"Received: tasks={tasks!r}. Name each task once."
            )
        self.tasks = names
        self.state = keras.layers.Layer(dtype="float32", name="balancer")
        self.make_variables()
        self.state.built = True

    def make_variables(self) -> None:
        """Makes what is kept from step to step, by `add_variable`; nothing by default."""

    def add_variable(
        self,
        name: str,
        initial: Any = 0.0,
        shape: Sequence[int] | None = None,
        trains: bool = False,
    ) -> keras.Variable:
        """Returns a float32 variable that is saved with the model.

        Args:
            name: Its name.
            initial: Its first value, one number.
            shape: Its shape; `(tasks,)` by default.
            trains: Whether the model's optimizer moves it, along `variable_gradients`.
        """
        require_built(self)
        return self.state.add_weight(  # type: ignore[union-attr]
            shape=(self.num_tasks,) if shape is None else tuple(shape),
            initializer=keras.initializers.Constant(initial),
            trainable=trains,
            name=name,
        )

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The variables that the model's optimizer moves."""
        return [] if self.state is None else self.state.trainable_variables

    def __call__(self, losses: Any, gram: Any = None) -> Tensor:
        """Returns `weights`, after checks, and after building for as many tasks as there are.

        Args:
            losses: (tasks,).
            gram: (tasks, tasks), or None where `needs_gradients` is False.

        Returns:
            Weights, (tasks,), float32.
        """
        losses = ops.cast(ops.convert_to_tensor(losses), "float32")
        if len(losses.shape) != 1:
            raise ValueError(
                "`losses` must have the shape (tasks,). "
                f"Received: shape {tuple(losses.shape)}. Pass one number for each task."
            )
        self.build(self.tasks if self.built else int(losses.shape[0]))
        if int(losses.shape[0]) != self.num_tasks:
            raise ValueError(
                f"`losses` must hold one number for each of {self.num_tasks} tasks. "
                f"Received: {losses.shape[0]}. Make a new balancer for other tasks."
            )
        if gram is None and self.needs_gradients:
            raise ValueError(
                f"{type(self).__name__} needs `gram`, the inner products of the tasks' gradients. "
                "Received: gram=None. Pass a matrix of shape (tasks, tasks)."
            )
        if gram is not None:
            gram = ops.cast(ops.convert_to_tensor(gram), "float32")
            if tuple(gram.shape) != (self.num_tasks, self.num_tasks):
                raise ValueError(
                    f"`gram` must have the shape {(self.num_tasks, self.num_tasks)}. "
                    f"Received: shape {tuple(gram.shape)}. Multiply the (tasks, parameters) "
                    "matrix of gradients by its transpose."
                )
        if gram is None:
            return self.weights(losses)
        # The solvers of some backends raise an error at NaN; here it comes out again.
        finite = ops.all(ops.isfinite(gram))
        weights = self.weights(losses, ops.where(finite, gram, ops.eye(self.num_tasks)))
        return ops.where(finite, weights, ops.full_like(weights, float("nan")))

    def weights(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        """Returns the weights of the shared gradient.

        Args:
            losses: (tasks,), float32.
            gram: (tasks, tasks), float32, or None where `needs_gradients` is False.

        Returns:
            Weights, (tasks,), float32.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `weights`.")

    def head_weights(self, losses: Tensor, weights: Tensor, scope: str | None = None) -> Tensor:
        """Returns the weights of the tasks in the gradient of what they do not share.

        Args:
            losses: (tasks,), float32.
            weights: What `weights` returned.
            scope: Whose gradients `weights` looked at, if not those of the balancer's own scope.

        Returns:
            Weights, (tasks,), float32.
        """
        heads = self.heads_in(scope or self.scope)
        if heads == "weighted":
            return weights
        return ops.full((self.num_tasks,), 1.0 if heads == "sum" else 1.0 / self.num_tasks)

    def heads_in(self, scope: str) -> str | None:
        """Returns what the heads follow where the gradients are those of a scope.

        Args:
            scope: As for the class.
        """
        return self.heads

    def objective(self, losses: Tensor, gram: Tensor | None = None) -> Tensor:
        """Returns the number that a step lowers, if the weights are held.

        Args:
            losses: (tasks,), float32.
            gram: (tasks, tasks), or None where `needs_gradients` is False.

        Returns:
            A scalar.
        """
        losses = ops.cast(ops.convert_to_tensor(losses), "float32")
        return ops.sum(self(losses, gram) * losses)

    def variable_gradients(self, losses: Tensor, gram: Tensor | None = None) -> list[Tensor]:
        """Returns the gradients of `trainable_variables`, in their order.

        Args:
            losses: (tasks,), float32.
            gram: (tasks, tasks), or None where `needs_gradients` is False.
        """
        return []

    def update(self, losses: Tensor, gram: Tensor | None = None) -> None:
        """Takes notice of a step, after the optimizer has moved the variables.

        Args:
            losses: (tasks,), float32, from before the step.
            gram: (tasks, tasks), or None where `needs_gradients` is False.
        """

    def after_step(self, losses: Tensor, losses_after: Tensor) -> None:
        """Takes notice of what a step did, where `needs_losses_after` is True.

        Args:
            losses: (tasks,), float32, before the step.
            losses_after: (tasks,), float32, of the same batch after the step.
        """

    def start_epoch(self) -> None:
        """Takes notice of the beginning of an epoch; `MultiTaskModel.fit` calls it."""

    def get_config(self) -> dict[str, Any]:
        return {"scope": self.scope, "heads": self.heads}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Balancer":
        """Returns a balancer with this configuration.

        Args:
            config: What `get_config` returned.
        """
        return cls(**config)

    def per_task(self, name: str, values: Any) -> list[float]:
        """One number for each task, from one for all, a sequence, or a dictionary by task."""
        if isinstance(values, Mapping):
            if set(values) != set(self.tasks):
                raise ValueError(
                    f"`{name}` must name each task once. Received: {sorted(values)} for the tasks "
                    f"{sorted(self.tasks)}. Name these."
                )
            return [float(values[task]) for task in self.tasks]
        if isinstance(values, (int, float)):
            return [float(values)] * self.num_tasks
        if len(values) != self.num_tasks:
            raise ValueError(
                f"`{name}` must hold one number for each of {self.num_tasks} tasks. "
                f"Received: {name}={values!r}. Pass as many, or one for all."
            )
        return [float(value) for value in values]


def require_built(balancer: Balancer) -> None:
    """Raises unless the number of tasks is known."""
    if not balancer.built:
        raise ValueError(
            "A balancer must know its tasks. Received: one that is not built. "
            "Call `build(tasks)` first."
        )


def check_choice(name: str, value: Any, choices: Sequence[str]) -> Any:
    """Returns `value`, and raises unless it is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{name}` must be one of {list(choices)}. Received: {name}={value!r}. Choose one."
        )
    return value


def check_positive(name: str, value: float) -> float:
    """Returns `value`, and raises unless it is above zero."""
    if not value > 0:
        raise ValueError(
            f"`{name}` must be above 0. Received: {name}={value!r}. Pass a larger one."
        )
    return float(value)
