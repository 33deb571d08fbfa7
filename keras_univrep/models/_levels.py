"""Maps of the named levels of a functional backbone."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from keras_univrep.types import Tensor

# Sides of an image on which levels are measured where the backbone leaves them open.
PROBE = 256


class Levels:
    """The maps of some layers of a backbone; no layer itself, so that Keras does not track it.

    Args:
        backbone: A functional model of one batch of images.
        names: Names of its layers, from shallow to deep.
        owner: What the backbone is called in errors.

    Attributes:
        names: As given.
        filters: Channels of each level.
        strides: Factor of the resolution between each level and the next.
        view: Functional model from images to the maps.
    """

    def __init__(self, backbone: keras.Model, names: Sequence[str], owner: str) -> None:
        if not (isinstance(backbone, keras.Model) and hasattr(backbone, "operations")):
            raise TypeError(
                f"{owner} must be a functional Keras model, whose levels can be looked into. "
                f"Received: {type(backbone).__name__}. Build it as `keras.Model(images, maps)`."
            )
        if len(backbone.inputs) != 1:
            raise ValueError(
                f"{owner} must take one batch of images. Received: {len(backbone.inputs)} inputs. "
                "Build it of one `keras.Input`."
            )
        self.names = tuple(names)
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(
                f"`levels` must name layers, each once. Received: {list(names)} for {owner}. Name "
                "them from shallow to deep."
            )
        self.owner = owner
        self.maps = [_map_of(backbone, name, owner) for name in self.names]
        self.view = keras.Model(
            backbone.inputs[0], self.maps if len(self.maps) > 1 else self.maps[0]
        )
        self.filters = tuple(x.shape[-1] for x in self.maps)
        self.strides = self._measure_strides(backbone)

    def _measure_strides(self, backbone: keras.Model) -> tuple[int, ...]:
        if len(self.maps) == 1:
            return ()
        shapes = [x.shape for x in self.maps]
        if any(None in shape[1:3] for shape in shapes):
            _, height, width, channels = backbone.inputs[0].shape
            probe = (1, height or PROBE, width or PROBE, channels)
            shapes = self.view.compute_output_shape(probe)
        sides = [max(shape[1:3]) for shape in shapes]
        if sides != sorted(sides, reverse=True):
            raise ValueError(
                "`levels` must go from shallow to deep, to maps that do not grow. Received: "
                f"{dict(zip(self.names, sides))} pixels for {self.owner}. Order or drop some."
            )
        return tuple(round(a / b) for a, b in zip(sides, sides[1:]))

    def __call__(self, images: Tensor, training: bool) -> list[Tensor]:
        maps = self.view(images, training=training)
        return list(maps) if len(self.maps) > 1 else [maps]  # Keras takes one out of its list.

    def stages(self) -> list[keras.Model]:
        """The backbone cut at its levels: from images to the first, and from each to the next."""
        entries = [self.view.inputs[0], *self.maps]
        try:
            return [keras.Model(a, b) for a, b in zip(entries, self.maps)]
        except ValueError as error:
            raise ValueError(
                "With `feed_forward=True` a level must depend on the images through the level "
                f"before it alone. Received: {list(self.names)} of {self.owner}, with connections "
                "around them. Name other levels, or leave `feed_forward` out."
            ) from error


def _map_of(backbone: keras.Model, name: str, owner: str) -> keras.KerasTensor:
    try:
        x = backbone.get_layer(name).output
    except ValueError as error:
        raise ValueError(
            f"`levels` must name layers of {owner}. Received: {name!r}, where there are "
            f"{[layer.name for layer in backbone.layers]}. Choose among these."
        ) from error
    if isinstance(x, (list, tuple, Mapping)) or len(x.shape) != 4:
        raise ValueError(
            "A level must be one map of shape (batch, height, width, channels). Received: "
            f"{name!r} of {owner}, with {getattr(x, 'shape', 'several outputs')}. Choose another "
            "layer."
        )
    return x


def resized(features: Tensor, like: Tensor) -> Tensor:
    """Bilinear, to the height and width of `like`, as far as sizes are known."""
    size, known = tuple(like.shape[1:3]), tuple(features.shape[1:3])
    if known == size or None in size or None in known:
        return features
    resized_maps = ops.image.resize(
        ops.cast(features, "float32"), size, "bilinear", data_format="channels_last"
    )
    return ops.cast(resized_maps, features.dtype)


def level_names(levels: Any, tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Names of the levels of each task's backbone, as many for all."""
    found = {
        task: tuple(levels.get(task, ()) if isinstance(levels, Mapping) else levels)
        for task in tasks
    }
    if len({len(names) for names in found.values()}) > 1 or not all(found.values()):
        raise ValueError(
            "`levels` must name as many levels for each task. Received: "
            f"{ {task: list(names) for task, names in found.items()} }. Name those of every "
            "sub-backbone, from shallow to deep."
        )
    return found
