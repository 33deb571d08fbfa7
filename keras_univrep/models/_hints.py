"""Hints: squared distances of guided features to those of a teacher."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.layers import GuidanceLayer
from keras_univrep.models._expanded_backbone import ExpandedBackbone
from keras_univrep.models._levels import Levels, resized
from keras_univrep.types import Tensor

REDUCTIONS = ("mean", "sum", "relative")


class Hints(keras.layers.Layer):
    """What teachers of single sources tell the sub-backbones of X-Learner++.

    Args:
        teachers: Functional backbones by (task, source), frozen in place.
        expanded: The sub-backbones.
        levels: Numbers of the levels compared, from 1 on; `None` for the last.
        weight: Weight of each hint.
        reduction: One of `REDUCTIONS`.
        **kwargs: As for any layer.

    Call arguments:
        inputs: Images, `{task: {source: (batch, height, width, channels)}}`.
        maps: Maps of the sub-backbones for them, `{task: {source: [maps]}}`.

    Returns:
        `{(task, source): scalar}`.
    """

    def __init__(
        self,
        teachers: Mapping[tuple[str, str], keras.Model],
        expanded: ExpandedBackbone,
        levels: Sequence[int] | None,
        weight: float,
        reduction: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.taught = tuple(teachers)
        self.teachers = list(teachers.values())
        for teacher in self.teachers:
            teacher.trainable = False
        self.numbers = check_numbers("hint_levels", levels, expanded.num_levels)
        self.weight = weight
        self.reduction = check_reduction(reduction)
        self._views = [
            Levels(t, expanded.level_names[task], f"The teacher of {source!r}")
            for t, (task, source) in zip(self.teachers, self.taught, strict=True)
        ]
        self.guidance_layers = []
        for view, (task, source) in zip(self._views, self.taught, strict=True):
            for i in self.numbers:
                name = f"guidance_{task}_{source}_{i}"
                layer = GuidanceLayer(view.filters[i - 1], name=name, dtype=self.dtype_policy)
                layer.build(expanded.shapes(task)[i - 1])
                self.guidance_layers.append(layer)
        self.built: bool = True

    def call(self, inputs: Any, maps: Any) -> dict[tuple[str, str], Tensor]:
        guidances = iter(self.guidance_layers)
        found = {}
        for view, (task, source) in zip(self._views, self.taught, strict=True):
            hints = view(inputs[task][source], False)
            value: Any = 0.0
            for i in self.numbers:
                guided = next(guidances)(maps[task][source][i - 1], training=True)
                value = value + hint_loss(hints[i - 1], guided, self.reduction)
            found[task, source] = value
        return found

    def arguments(self) -> dict[str, Any]:
        """Arguments of `XLearnerExpansion`, as a configuration."""
        teachers = [keras.saving.serialize_keras_object(teacher) for teacher in self.teachers]
        return {
            "teachers": [[*key, t] for key, t in zip(self.taught, teachers, strict=True)],
            "hint_levels": list(self.numbers),
            "hint_weight": self.weight,
            "hint_reduction": self.reduction,
        }


def hint_loss(hint: Tensor, guided: Tensor, reduction: str) -> Tensor:
    """||F - G(F')||^2 of he2022, eq. 3, averaged over the batch.

    Args:
        hint: Features of the teacher, (batch, height, width, channels).
        guided: The student's through a guidance layer; brought to that height and width.
        reduction: Whether the squares of an image are averaged or summed, or averaged and divided
            by the variance of the hint, the mean over its channels: 1 for a student that knows the
            mean of each channel, and nothing else.

    Returns:
        A scalar, float32.
    """
    guided = ops.cast(resized(guided, hint), "float32")
    hint = ops.cast(ops.stop_gradient(hint), "float32")
    squares = ops.square(hint - guided)
    if reduction == "sum":
        return ops.mean(ops.sum(squares, axis=(1, 2, 3)))
    if reduction == "mean":
        return ops.mean(squares)
    variance = ops.mean(ops.var(hint, axis=(0, 1, 2)))
    # Where all images look the same to the teacher there is nothing to divide by.
    return ops.mean(squares) / ops.maximum(variance, 1e-6)


def check_reduction(reduction: str) -> str:
    """Returns how the squares of an image are added up, if it is known."""
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"The reduction of hints must be one of {list(REDUCTIONS)}. "
            f"Received: {reduction!r}. Pass one of these."
        )
    return reduction


def check_numbers(name: str, numbers: Any, num_levels: int) -> tuple[int, ...]:
    """Numbers of levels, from 1 on; the last for `None`."""
    found = (num_levels,) if numbers is None else tuple(numbers)
    if not found or len(set(found)) < len(found) or not set(found) <= set(range(1, num_levels + 1)):
        raise ValueError(
            f"`{name}` must hold numbers of levels, from 1 to {num_levels}, each once. Received: "
            f"{numbers!r}. Leave it out for the last level."
        )
    return found
