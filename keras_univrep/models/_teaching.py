"""What teachers say to a batch, how much it counts, and whether they suit the student."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.models.multi_domain_model import MultiDomainModel
from keras_univrep.models.teacher_cache import TeacherCache
from keras_univrep.types import Tensor

Annealing = Any  # A schedule of the step, or None.
TARGETS = ("features", "logits")


def check_teachers(student: MultiDomainModel, teachers: Mapping[str, Any]) -> dict[str, int]:
    """Returns the number of features of each domain's teacher, or raises an error."""
    if not teachers:
        raise ValueError(
            "`teachers` must hold at least one teacher. Received: {}. Without any, train the "
            "student itself."
        )
    sizes = {}
    for name, teacher in teachers.items():
        if isinstance(teacher, int) and not isinstance(teacher, bool) and teacher > 0:
            known, classes, sizes[name] = [name], None, teacher
        elif isinstance(teacher, TeacherCache):
            known, classes, sizes[name] = [name], teacher.num_classes, teacher.feature_size
        elif isinstance(teacher, MultiDomainModel):
            known, classes = list(teacher.domains), teacher.num_classes.get(name)
            sizes[name] = teacher.feature_size
        else:
            raise TypeError(
                "A teacher must be a MultiDomainModel, a TeacherCache, or the number of features "
                f"that come in the batches. Received: {name!r}: {teacher!r}. Wrap a backbone in a "
                "MultiDomainModel with its classifier."
            )
        if name not in student.domains or name not in known:
            raise ValueError(
                "Each teacher must be filed under a domain that it and the student know. Received: "
                f"{name!r}, student={list(student.domains)}, teacher={known}."
            )
        if classes not in (None, student.num_classes[name]):
            raise ValueError(
                f"The teacher of {name!r} must have the student's classes. Received: "
                f"teacher={classes}, student={student.num_classes[name]}. "
                "Train the teacher on the same labels."
            )
    return sizes


def per_domain(
    argument: str, value: float | Mapping[str, float], domains: Sequence[str]
) -> dict[str, float]:
    """Returns a number for each domain, from one number or one for each."""
    if not isinstance(value, Mapping):
        return {name: float(value) for name in domains}
    _check_names(argument, value, domains)
    return {name: float(value[name]) for name in domains}


def check_annealing(annealing: Any, domains: Sequence[str]) -> Any:
    """Returns one schedule, or a dictionary of them that names exactly the domains."""
    found = annealing if isinstance(annealing, Mapping) else {"": annealing}
    if isinstance(annealing, Mapping):
        _check_names("annealing", annealing, domains)
    for value in found.values():
        if value is not None and not callable(value):
            raise TypeError(
                "`annealing` must hold schedules of the step. Received: "
                f"{value!r}. Pass `keras.optimizers.schedules.PolynomialDecay(1.0, steps, 0.0)`."
            )
    return dict(annealing) if isinstance(annealing, Mapping) else annealing


def _check_names(argument: str, value: Mapping[str, Any], domains: Sequence[str]) -> None:
    if set(value) != set(domains):
        raise ValueError(
            f"`{argument}` must be a number, or a number for each domain with a teacher: "
            f"{list(domains)}. Received: {dict(value)}."
            if argument != "annealing"
            else "`annealing` must be one schedule, or one for each domain with a teacher: "
            f"{list(domains)}. Received: {list(value)}. Pass None for a domain without annealing."
        )


def linear_decay(steps: int | Mapping[str, int]) -> Annealing | dict[str, Annealing]:
    """Returns the schedule max(1 - step / steps, 0), or one for each domain."""
    if isinstance(steps, Mapping):
        return {name: linear_decay(count) for name, count in steps.items()}
    return keras.optimizers.schedules.PolynomialDecay(1.0, steps, 0.0)


def split_batch(
    x: Mapping[str, Any],
) -> tuple[Mapping[str, Tensor], Mapping[str, Mapping[str, Tensor]]]:
    """Returns the images, and what teachers answered beforehand, by domain."""
    # A domain may be called "images": then it holds no mapping.
    if isinstance(x.get("images"), Mapping):
        return x["images"], x.get("targets", {})
    return x, {}


def teacher_answers(
    teachers: Sequence[MultiDomainModel],
    taught_by: Mapping[str, int | None],
    images: Mapping[str, Tensor],
    targets: Mapping[str, Mapping[str, Tensor]],
) -> dict[str, tuple[Tensor, Tensor]]:
    """Returns features and logits of the teacher of each domain of a batch that has one.

    A network that teaches several of the domains sees their images as one batch, which is one
    forward pass; in inference it answers to each image alone.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    waiting: dict[int, list[str]] = {}
    for name, number in taught_by.items():
        if name not in images:
            continue
        if name in targets:
            features, logits = (ops.convert_to_tensor(targets[name][key]) for key in TARGETS)
            found[name] = (features, logits)
        elif number is None:
            raise ValueError(
                f"The batch must hold what the teacher of {name!r} answers, since the model has no "
                f"network for it. Received: targets of {list(targets)}. Feed it with "
                "`datasets.taught_pipeline`, or pass the teacher itself."
            )
        else:
            waiting.setdefault(number, []).append(name)
    for number, names in waiting.items():
        teacher = teachers[number]
        if len({tuple(images[name].shape[1:]) for name in names}) == 1:
            features = teacher.features({name: images[name] for name in names}, training=False)
        else:
            features = {name: teacher.features(images[name], name, False) for name in names}
        for name in names:
            found[name] = (features[name], teacher.classify(features[name], domain=name))
    return {name: found[name] for name in taught_by if name in found}


def anneal(
    annealing: Annealing | Mapping[str, Annealing], step: Tensor, names: Any
) -> dict[str, Any]:
    """Returns the weight w_t of the terms of each domain at a step."""
    if annealing is None:
        return dict.fromkeys(names, 1.0)
    step = ops.convert_to_tensor(step)
    if not isinstance(annealing, Mapping):
        return dict.fromkeys(names, annealing(step))
    schedules = {name: annealing[name] for name in names}
    return {n: 1.0 if schedule is None else schedule(step) for n, schedule in schedules.items()}
