"""What an exported file answers: functional models by name, which share their weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.compression import fuse
from keras_univrep.layers.domain_names import check_domain
from keras_univrep.models import MultiDomainModel
from keras_univrep.types import Tensor

# What TensorFlow Serving calls where a request names no signature.
DEFAULT = "serving_default"
FEATURES = "features"
LOGITS = "logits"
# Mean and standard deviation of each channel of images in [0, 1].
Statistics = tuple[Sequence[float], Sequence[float]]


def endpoints(
    model: keras.Model,
    domains: Sequence[str] | None,
    size: tuple[int | None, int | None],
    fused: bool,
    preprocess: Mapping[str, Statistics] | Statistics | None,
) -> dict[str, keras.Model]:
    """Returns functional models from one batch of images to dictionaries of outputs."""
    if not isinstance(model, MultiDomainModel):
        images, x = _images(size, _channels(model), _of(preprocess, DEFAULT))
        return {DEFAULT: keras.Model(images, _by_name(model(x, training=False), model))}
    names = model.domains if domains is None else tuple(domains)
    own = {name: _domain(model, name, size, fused, _of(preprocess, name)) for name in names}
    if model.depends_on_domain or fused or isinstance(preprocess, Mapping):
        images = keras.Input(**_like(own[names[0]]))
        logits = {name: own[name](images)[LOGITS] for name in names}
    else:
        # One pass of the trunk answers for all.
        images, x = _images(size, _channels(model), preprocess)
        features = model.features(x, names[0], training=False)
        # A domain of this name answers with the features too, beside its logits.
        own.setdefault(FEATURES, keras.Model(images, {FEATURES: features}))
        logits = {name: model.classify(features, name) for name in names}
    own[DEFAULT] = keras.Model(images, logits)
    return own


def _domain(
    model: MultiDomainModel,
    name: str,
    size: tuple[int | None, int | None],
    fused: bool,
    preprocess: Statistics | None,
) -> keras.Model:
    check_domain(name, model.domains, model.name)
    images, x = _images(size, _channels(model), preprocess)
    if not fused:
        features = model.features(x, name, training=False)
        return keras.Model(images, {LOGITS: model.classify(features, name), FEATURES: features})
    network = fuse(model, name)
    both = keras.Model(
        network.inputs, {LOGITS: network.outputs[0], FEATURES: network.layers[-1].input}
    )
    return keras.Model(images, both(x, training=False))


def _images(
    size: tuple[int | None, int | None], channels: int, preprocess: Statistics | None
) -> tuple[keras.KerasTensor, Tensor]:
    """The input, and what the network is given."""
    if preprocess is None:
        images = keras.Input((*size, channels), name="images")
        return images, images
    images = keras.Input((*size, channels), name="images", dtype="uint8")
    mean, std = (tuple(map(float, values)) for values in preprocess)
    scale = [1.0 / (255.0 * value) for value in std]
    shift = [-m / s for m, s in zip(mean, std, strict=True)]
    return images, keras.layers.Rescaling(scale, shift)(images)


def _of(preprocess: Any, name: str) -> Statistics | None:
    return preprocess[name] if isinstance(preprocess, Mapping) else preprocess


def _channels(model: keras.Model) -> int:
    if isinstance(model, MultiDomainModel):
        return getattr(model.backbone, "channels", 3)
    return model.inputs[0].shape[-1]


def _like(model: keras.Model) -> dict[str, Any]:
    return {"shape": model.inputs[0].shape[1:], "dtype": model.inputs[0].dtype, "name": "images"}


def _by_name(outputs: Any, model: keras.Model) -> dict[str, Tensor]:
    if isinstance(outputs, Mapping):
        return dict(outputs)
    if not isinstance(outputs, (list, tuple)):
        return {"outputs": outputs}
    return dict(zip(model.output_names, outputs, strict=True))
