"""Sub-backbones of several tasks and the reconciliation layers between them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.layers import ReconciliationLayer
from keras_univrep.models._levels import Levels, level_names, resized
from keras_univrep.models._sources import joined, split
from keras_univrep.types import Shape, Tensor

DIRECTIONS = ("deeper", "shallower", None)
Maps = dict[str, list[Tensor]]


class ExpandedBackbone(keras.layers.Layer):
    """E and gamma of he2022, eq. 2; the arguments are those of `XLearnerExpansion`."""

    def __init__(
        self,
        tasks: Sequence[str],
        backbones: keras.Model | Mapping[str, keras.Model],
        levels: Sequence[str] | Mapping[str, Sequence[str]],
        reconciliation: str | None,
        links: Iterable[Sequence[int]] | None,
        reconciliation_options: Mapping[str, Any] | None,
        feed_forward: bool,
        pyramid: Sequence[str],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tasks = tuple(tasks)
        self.hard_sharing = not isinstance(backbones, Mapping)
        if not set(pyramid) <= set(self.tasks):
            raise ValueError(
                f"`pyramid` must name tasks of {list(self.tasks)}. "
                f"Received: {list(pyramid)}. Leave the others out."
            )
        self.level_names = level_names(levels, self.tasks)
        self.num_levels = len(self.level_names[self.tasks[0]])
        self.backbones = _backbones(backbones, self.tasks)
        if self.hard_sharing and len(set(self.level_names.values())) > 1:
            raise ValueError(
                "`levels` of a shared backbone must be the same for all tasks. Received: "
                f"levels={dict(self.level_names)}. Pass one list of names."
            )
        if self.hard_sharing and (reconciliation is not None or feed_forward):
            raise ValueError(
                "Reconciliation layers connect the backbones of several tasks. Received: "
                f"reconciliation={reconciliation!r}, feed_forward={feed_forward} with one backbone "
                "for all. Pass `reconciliation=None` for hard sharing."
            )
        self._levels = [
            Levels(backbone, names, f"The backbone of {task!r}")
            for backbone, (task, names) in zip(self.backbones, self.level_names.items())
        ]
        # A function of the task: the stages are models, which Keras would track.
        cut = {t: v.stages() for t, v in zip(self.tasks, self._levels)} if feed_forward else {}
        self._stages = lambda task: cut[task]
        self.reconciliation = reconciliation
        links = None if links is None else [tuple(link) for link in links]
        self.links = links
        self.reconciliation_options = dict(reconciliation_options or {})
        self.feed_forward = feed_forward
        pairs = _pairs(reconciliation, self.links, self.num_levels, feed_forward)
        # By default none to a map that nothing takes: it would stay as it was drawn.
        self.connections = [
            (k, j, t, i)
            for t in self.tasks
            for k in self.tasks
            for j, i in pairs
            if k != t and (links or feed_forward or t in pyramid or i == self.num_levels)
        ]
        self.reconciliation_layers = [self._new_layer(*c) for c in self.connections]
        self.build(None)

    def _new_layer(self, k: str, j: int, t: str, i: int) -> ReconciliationLayer:
        mine = self.levels(t)
        numbers = range(j, i - 1, -1) if j > i else range(j, i + 1)
        options: dict[str, Any] = {
            "filters": [mine.filters[number - 1] for number in numbers],
            "strides": [mine.strides[min(a, b) - 1] for a, b in zip(numbers, numbers[1:])],
            "reverse": self.reconciliation == "shallower",
            "name": f"reconcile_{k}_{j}_{t}_{i}",
            "dtype": self.dtype_policy,
        }
        return ReconciliationLayer(**{**options, **self.reconciliation_options})

    def build(self, input_shape: Shape | None) -> None:
        if self.built:
            return
        for layer, (k, j, _, _) in zip(self.reconciliation_layers, self.connections, strict=True):
            layer.build(self.shapes(k)[j - 1])
        self.built: bool = True

    def levels(self, task: str) -> Levels:
        """The levels of a task's backbone."""
        return self._levels[0 if self.hard_sharing else self.tasks.index(task)]

    def shapes(self, task: str) -> list[Shape]:
        """Shapes of the maps of a task, with any batch."""
        return [(None, *x.shape[1:]) for x in self.levels(task).maps]

    @property
    def image_shape(self) -> Shape:
        """Shape of an image."""
        return self.levels(self.tasks[0]).view.inputs[0].shape[1:]

    def unused_variables(self) -> list[keras.Variable]:
        """Variables of the backbones behind their last level."""
        used = {id(v) for levels in self._levels for v in levels.view.variables}
        return [v for b in self.backbones for v in b.variables if id(v) not in used]

    def learn(self, images: Mapping[str, Tensor], joint: bool) -> tuple[Maps, Maps]:
        """E and F of each task for its own images, while training."""
        if not (joint and self.connections):
            plain = self._separate(images, True)
            return plain, plain
        plain, fused = {}, {}
        for task, x in images.items():
            every, found = self._expanded(x, [task], task, None)
            plain[task], fused[task] = every[task], found[task]
        return plain, fused

    def answer(self, images: Mapping[str, Tensor], gate: Tensor | None) -> Maps:
        """F of each task for its own images, at inference; without gamma where `gate` is false."""
        if not self.connections:
            return self._separate(images, False)
        return {task: self.fused(x, [task], gate)[task] for task, x in images.items()}

    def fused(self, images: Tensor, wanted: Sequence[str], gate: Tensor | None) -> Maps:
        """F of any tasks for the same images, at inference."""
        if self.connections:
            return self._expanded(images, wanted, None, gate)[1]
        if self.hard_sharing:
            return dict.fromkeys(wanted, self.levels(wanted[0])(images, False))
        return {task: self.levels(task)(images, False) for task in wanted}

    def to_backbone(self, gate: Tensor | None, name: str) -> keras.Model:
        """A functional model from images to the maps F of all tasks, side by side."""
        if self.hard_sharing:
            return self.backbones[0]
        images = keras.Input(self.image_shape, name="images")
        names = self.level_names[self.tasks[0]]
        levels = zip(*self.fused(images, self.tasks, gate).values(), strict=True)
        maps = {
            name: keras.layers.Concatenate(axis=-1, name=name)(list(level))
            for name, level in zip(names, levels, strict=True)
        }
        return keras.Model(images, maps, name=name)

    def _separate(self, images: Mapping[str, Tensor], training: bool) -> Maps:
        sizes = {tuple(x.shape[1:]) for x in images.values()}
        if self.hard_sharing and len(images) > 1 and len(sizes) == 1:
            # One batch of all tasks, whose statistics are those that inference meets.
            maps = self.levels(self.tasks[0])(joined(images, self.name), training)
            return split(maps, images)
        return {task: self.levels(task)(x, training) for task, x in images.items()}

    def _expanded(
        self, images: Tensor, wanted: Sequence[str], learner: str | None, gate: Tensor | None
    ) -> tuple[Maps, Maps]:
        """E and F, where all but the learner answer as at inference."""
        plain: Maps = {task: [] for task in self.tasks}
        fused: Maps = {task: [] for task in self.tasks}
        if not self.feed_forward:
            plain = {task: self.levels(task)(images, task == learner) for task in self.tasks}
        for number in range(self.num_levels):
            if self.feed_forward:
                for task in self.tasks:
                    stage, x = self._stages(task)[number], fused[task][-1] if number else images
                    plain[task].append(stage(x, training=task == learner))
            for task in self.tasks if self.feed_forward else wanted:
                fused[task].append(self._fuse(task, number + 1, plain, learner, gate))
        return plain, {task: fused[task] for task in wanted}

    def _fuse(
        self, task: str, i: int, plain: Maps, learner: str | None, gate: Tensor | None
    ) -> Tensor:
        own = plain[task][i - 1]
        terms = [
            resized(layer(plain[k][j - 1], training=task == learner), own)
            for layer, (k, j, t, at) in zip(self.reconciliation_layers, self.connections)
            if (t, at) == (task, i)
        ]
        if not terms:
            return own
        if gate is not None:
            return own + ops.where(gate, sum(terms), ops.zeros_like(own))
        return own + sum(terms)  # he2022 eq. 2

    def arguments(self) -> dict[str, Any]:
        """What `restored` takes, as a configuration."""
        serialize = keras.saving.serialize_keras_object
        backbones = [serialize(backbone) for backbone in self.backbones]
        return {
            # A dictionary would lose its order in the file.
            "backbones": backbones[0] if self.hard_sharing else list(zip(self.tasks, backbones)),
            "levels": {task: list(names) for task, names in self.level_names.items()},
            "reconciliation": self.reconciliation,
            "links": None if self.links is None else [list(link) for link in self.links],
            "reconciliation_options": serialize(self.reconciliation_options),
            "feed_forward": self.feed_forward,
            "kernel_constraints": [
                layer.get_config()["kernel_constraints"] for layer in self.reconciliation_layers
            ],
        }

    @staticmethod
    def restored(config: dict[str, Any], custom_objects: Any = None) -> dict[str, Any]:
        """Arguments from what `arguments` returned."""
        deserialize = keras.saving.deserialize_keras_object
        config = dict(config)
        if isinstance(config["backbones"], Mapping):
            config["backbones"] = deserialize(config["backbones"], custom_objects)
        else:
            config["backbones"] = {
                t: deserialize(b, custom_objects) for t, b in config["backbones"]
            }
        options = deserialize(config["reconciliation_options"], custom_objects)
        return {**config, "reconciliation_options": options}


def _backbones(backbones: Any, tasks: tuple[str, ...]) -> list[keras.Model]:
    if not isinstance(backbones, Mapping):
        return [backbones]
    if set(backbones) != set(tasks):
        raise ValueError(
            f"`backbones` must hold one for each task of `heads`, {list(tasks)}. Received: "
            f"{list(backbones)}. Pass a single model to share it."
        )
    if len({id(backbone) for backbone in backbones.values()}) < len(tasks):
        raise ValueError(
            "`backbones` must be a model of its own for each task. Received: one model under "
            "several tasks. Pass it by itself to share it, or build it anew."
        )
    return [backbones[task] for task in tasks]


def _pairs(
    direction: str | None, links: Any, num_levels: int, feed_forward: bool
) -> list[tuple[int, int]]:
    """Pairs (j, i) of levels to connect."""
    if direction not in DIRECTIONS:
        raise ValueError(
            f"`reconciliation` must be one of {list(DIRECTIONS)}. "
            f"Received: reconciliation={direction!r}. Pass one of these."
        )
    if direction == "shallower" and feed_forward:
        raise ValueError(
            "Deeper maps cannot reach shallower ones that they depend on. Received: "
            "reconciliation='shallower' with feed_forward=True. Leave `feed_forward` out."
        )
    numbers = range(1, num_levels + 1)
    known = [
        (j, i)
        for i in numbers
        for j in numbers
        if (direction == "deeper" and j <= i) or (direction == "shallower" and j >= i)
    ]
    if links is None:
        return known
    if not set(links) <= set(known):
        raise ValueError(
            f"`links` must be pairs (from, to) of levels among {known}. Received: {links} for "
            f"reconciliation={direction!r}. Leave the others out."
        )
    return [pair for pair in known if pair in set(links)]
