"""Training whose step changes at a given number of steps."""

from typing import Any

import keras
from keras import ops


class TwoPhases:
    """Mixin of a model with another step from step `tau` on; put it first among the bases.

    The model has `tau`, the counter `step`, and `joint`, which tells its `update` the phase. The
    switch is the host's, for the two steps are two programs: one that held both would compute, and
    move, what the first leaves alone.
    """

    tau: int
    step: keras.Variable
    joint: bool
    make_train_function: Any
    steps_per_execution: int

    def enter_phase(self, step: int) -> None:
        """Makes the train step that of the phase after `step` steps (called by `fit`).

        Args:
            step: Number of steps done.
        """
        joint = step >= self.tau
        if joint != self.joint:
            self.joint = joint
            self.make_train_function(force=True)

    def fit(self, *args: Any, callbacks: Any = None, **kwargs: Any) -> Any:
        """As `keras.Model.fit`, with the switch at `tau`, wherever a training goes on.

        Args:
            *args: As for `keras.Model.fit`.
            callbacks: As for `keras.Model.fit`.
            **kwargs: As for `keras.Model.fit`.

        Returns:
            A `keras.callbacks.History`.

        Raises:
            ValueError: If `steps_per_execution` does not divide the steps left until `tau`.
        """
        if isinstance(callbacks, keras.callbacks.CallbackList):
            callbacks.append(_PhaseSwitch())
        else:
            given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
            # Last: others may restore a state first.
            callbacks = [*(c for c in given if c is not None), _PhaseSwitch()]
        return super().fit(*args, callbacks=callbacks, **kwargs)  # type: ignore[misc]

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.train_on_batch`, in the phase that the step is in.

        Args:
            *args: As for `keras.Model.train_on_batch`.
            **kwargs: As for `keras.Model.train_on_batch`.
        """
        self.enter_phase(int(ops.convert_to_numpy(self.step)))
        return super().train_on_batch(*args, **kwargs)  # type: ignore[misc]


class _PhaseSwitch(keras.callbacks.Callback):
    """Tells the model before each step how many there have been."""

    def __init__(self) -> None:
        super().__init__()
        self.first = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        # Read here, where every backend has the variables at hand.
        self.first = int(ops.convert_to_numpy(self.model.step))
        left, many = self.model.tau - self.first, self.model.steps_per_execution
        if left > 0 and left % many:
            raise ValueError(
                "`steps_per_execution` must divide the steps that are left until `tau`, as the "
                f"step changes there. Received: steps_per_execution={many} with {left} steps left. "
                "Compile with `steps_per_execution=1`, or round `tau`."
            )

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.enter_phase(self.first + batch)


def check_tau(tau: int, shared: bool, taught: bool) -> None:
    """Raises unless there can be `tau` steps of a first phase.

    Args:
        tau: Number of steps.
        shared: Whether all tasks have one backbone.
        taught: Whether there are teachers.
    """
    if not isinstance(tau, int) or tau < 0:
        raise ValueError(
            "`tau` must be a number of steps, from 0 on. "
            f"Received: tau={tau!r}. Pass 0 to join the sub-backbones at once."
        )
    if shared and tau:
        raise ValueError(
            "One backbone of all tasks has no phase of separate updates. Received: "
            f"tau={tau} with one backbone. Pass `tau=0`, or a backbone for each task."
        )
    if taught and not tau:
        raise ValueError(
            "Hints act before the sub-backbones are joined. Received: `teachers` with tau=0. Pass "
            "a positive `tau`, or no teachers."
        )
