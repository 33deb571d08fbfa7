"""What all constructors do: weights, domains and tops, in one place."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_univrep.applications.find_weights import find_weights
from keras_univrep.applications.weights_entry import WeightsEntry
from keras_univrep.models import MultiDomainModel

Weights = str | pathlib.Path | None
Domains = Mapping[str, int] | Sequence[str] | str | None
Classes = Mapping[str, int] | Sequence[int] | int | None
Size = Sequence[int] | None
# The domain of a network that is given only a number of classes.
ONLY = "images"


def build_classifier(
    constructor: str,
    make: Callable[..., keras.Model],
    weights: Weights,
    include_top: bool,
    domains: Domains,
    classes: Classes,
    input_shape: Size,
    architecture: Mapping[str, Any],
    multiple: int = 1,
) -> keras.Model:
    """A classifier of each domain on a backbone that `make(names, **architecture)` returns."""
    entry, path = _resolve(constructor, weights)
    if entry is not None:
        chosen = _chosen(entry, domains, classes)
        _refuse(entry, architecture, input_shape, multiple)
        counts, architecture = entry.num_classes, entry.architecture
    else:
        counts = _counts(constructor, domains, classes, required=include_top)
        chosen = list(counts)
        architecture = _with_channels(architecture, input_shape, multiple)
    if not counts:
        backbone = make(None, **architecture)
        _load(backbone, path)
        return backbone
    model = MultiDomainModel(make(list(counts), **architecture), counts, name=_snake(constructor))
    _load(model, path)
    for name in [name for name in counts if name not in chosen]:
        model.remove_domain(name)
    return model if include_top else model.backbone


def build_dense(
    constructor: str,
    make: Callable[..., keras.Model],
    weights: Weights,
    include_top: bool,
    tasks: Mapping[str, int] | None,
    input_shape: Size,
    architecture: Mapping[str, Any],
    layers: str,
) -> keras.Model:
    """A network of dense tasks, or of the maps in the layers `layers` under its heads."""
    entry, path = _resolve(constructor, weights)
    if entry is not None:
        if tasks is not None and dict(tasks) != entry.num_classes:
            raise ValueError(
                f"Weights {entry.name!r} bring their own tasks: {entry.num_classes}. Received: "
                f"tasks={tasks}. Leave them out, or pass weights=None."
            )
        _refuse(entry, architecture, input_shape, 32)
        tasks, architecture = entry.num_classes, entry.architecture
    else:
        architecture = _with_channels(architecture, input_shape, 32)
    if not tasks:
        raise ValueError(
            f"`tasks` must give the channels of each task. Received: tasks={tasks}. Pass, for "
            "example, tasks={'segmentation': 13, 'depth': 1, 'normals': 3}."
        )
    network = make(tasks, name=_snake(constructor), **architecture)
    _load(network, path)
    if include_top:
        return network
    if "{task}" not in layers:
        maps = network.get_layer(layers).output
    else:
        maps = {task: network.get_layer(layers.format(task=task)).output for task in tasks}
    return keras.Model(network.input, maps, name=f"{network.name}_features")


def _resolve(constructor: str, weights: Weights) -> tuple[WeightsEntry | None, pathlib.Path | None]:
    if weights is None:
        return None, None
    if isinstance(weights, pathlib.Path) or str(weights).endswith(".h5"):
        path = pathlib.Path(weights)
        if not path.is_file():
            raise FileNotFoundError(
                "`weights` must be None, a name of `list_weights()`, or the path of a .weights.h5 "
                f"file. Received: {str(path)!r}, where there is no file. Check the path."
            )
        return None, path
    return find_weights(weights, constructor)


def _chosen(entry: WeightsEntry, domains: Domains, classes: Classes) -> list[str]:
    """Those of an entry's domains that were asked for."""
    names = [domains] if isinstance(domains, str) else list(domains or entry.domains)
    counts = domains if isinstance(domains, Mapping) else {}
    wrong = [name for name in names if counts.get(name, 0) not in (0, entry.num_classes.get(name))]
    if not set(names) <= set(entry.domains) or wrong or classes is not None:
        raise ValueError(
            f"Weights {entry.name!r} bring their own domains and classes: {entry.num_classes}. "
            f"Received: domains={domains}, classes={classes}. Choose some of these by name, or "
            "pass weights=None."
        )
    return names


def _refuse(
    entry: WeightsEntry, architecture: Mapping[str, Any], input_shape: Size, multiple: int
) -> None:
    _check_shape(input_shape, multiple)
    channels = entry.architecture.get("channels", 3)
    if architecture or (input_shape is not None and input_shape[-1] != channels):
        raise ValueError(
            f"Weights {entry.name!r} bring their own architecture: {dict(entry.architecture)} for "
            f"images of {channels} channels. Received: {dict(architecture)}, "
            f"input_shape={input_shape}. Pass weights=None to choose it."
        )


def _counts(constructor: str, domains: Domains, classes: Classes, required: bool) -> dict[str, int]:
    """Number of classes by domain, of the ways in which it can be said."""
    if isinstance(classes, Mapping) and domains is None:
        return dict(classes)
    if isinstance(domains, Mapping) and classes is None:
        return dict(domains)
    names = [domains] if isinstance(domains, str) else list(domains or ())
    if not names and isinstance(classes, int):
        names = [ONLY]
    if not names and classes is None and not required:
        return {}
    if isinstance(classes, int):
        return dict.fromkeys(names, classes)
    if isinstance(classes, Mapping) and names and set(names) <= set(classes):
        return {name: classes[name] for name in names}
    if (
        names
        and classes is not None
        and not isinstance(classes, Mapping)
        and len(classes) == len(names)
    ):
        return dict(zip(names, classes, strict=True))
    raise ValueError(
        "`domains` and `classes` must give the number of classes of each domain. Received: "
        f"domains={domains}, classes={classes}. Pass, for example, "
        f"{constructor}(weights=None, domains={{'eurosat': 10}}), or classes=10 for one domain."
    )


def _with_channels(
    architecture: Mapping[str, Any], input_shape: Size, multiple: int
) -> dict[str, Any]:
    """The architecture, with the channels of the images."""
    _check_shape(input_shape, multiple)
    if input_shape is None:
        return dict(architecture)
    if architecture.get("channels", input_shape[2]) != input_shape[2]:
        raise ValueError(
            "`channels` must be the last of `input_shape`. Received: "
            f"channels={architecture['channels']}, input_shape={input_shape}. Leave `channels` out."
        )
    return {**architecture, "channels": input_shape[2]}


def _check_shape(input_shape: Size, multiple: int) -> None:
    if input_shape is None:
        return
    shape = tuple(input_shape)
    sizes = [size for size in shape[:2] if size is not None]
    if len(shape) != 3 or any(size < 1 or size % multiple for size in sizes) or not shape[2]:
        raise ValueError(
            f"`input_shape` must be (height, width, channels), sizes multiples of {multiple} or "
            f"None. Received: input_shape={input_shape}. Pass, for example, "
            f"({8 * multiple}, {8 * multiple}, 3)."
        )


def _load(model: keras.Model, path: pathlib.Path | None) -> None:
    if path is None:
        return
    try:
        model.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(
            f"The file must hold the weights of this very network: its architecture, domains and "
            f"classes. Received: {path}, of which Keras says: {str(error)[:500]}\nPass the "
            "arguments that the network was made with."
        ) from error


def _snake(constructor: str) -> str:
    starts = [
        i for i in range(1, len(constructor))
        if constructor[i].isupper() and constructor[i - 1].islower()
    ]  # fmt: skip
    words = [constructor[a:b] for a, b in zip([0, *starts], [*starts, len(constructor)])]
    return "_".join(words).lower()
