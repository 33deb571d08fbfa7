"""Networks as files that run without Keras."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_univrep.conversion._endpoints import DEFAULT, Statistics
from keras_univrep.conversion._files import SUFFIXES, write
from keras_univrep.layers.domain_names import check_domain
from keras_univrep.models import MultiDomainModel

_NEEDS = {"tf_saved_model": "tensorflow", "onnx": "tf2onnx", "litert": "tensorflow"}


def export(
    model: keras.Model,
    path: str | pathlib.Path,
    format: str = "tf_saved_model",
    domains: Sequence[str] | None = None,
    image_size: tuple[int, int] | None = None,
    fused: bool = False,
    preprocess: Mapping[str, Statistics] | Statistics | None = None,
    modules: Sequence[str] = (),
    overwrite: bool = False,
) -> pathlib.Path:
    """Writes a network to a file that serves all its domains, from any backend.

    What a domain shares with others is stored once. TensorFlow writes all three formats; on JAX
    and PyTorch it does so in a process of its own, which reads the network as Keras saves it.

    | format | signatures | outputs |
    |---|---|---|
    | "tf_saved_model" | each domain by its name | "logits", "features" |
    | | "features", if the domains share the trunk | "features" |
    | | "serving_default" | the logits of each domain by its name |
    | "litert" | the same | the same |
    | "onnx" | one graph | the logits of each domain by its name |

    The input is called "images"; in an ONNX graph, of which a domain has that name, "images_".
    ONNX Runtime computes all outputs of a graph whichever are asked for: for one domain write a
    file of its own. LiteRT adds adapters to the trunk in every call: `fused` is faster there.

    Another model than a `MultiDomainModel` has the one signature "serving_default", with its
    outputs by their names, or "outputs" where there is one.

    Args:
        model: A `MultiDomainModel`, or a functional model of one batch of images.
        path: Folder of the SavedModel, or file: `.onnx`, `.tflite`.
        format: "tf_saved_model", "onnx", which needs tf2onnx, or "litert".
        domains: Domains to write, all by default.
        image_size: Height and width that all images will have; any by default. LiteRT wants it.
        fused: Whether the parts of each domain are merged into the trunk, as by
            `compression.fuse`: fastest, and stored once for each domain.
        preprocess: Mean and standard deviation of each channel of images in [0, 1], or those of
            each domain. With them the file takes images of uint8 and normalises them itself.
        modules: Modules to import before the network is read, where it has classes of your own.
        overwrite: Whether what is at `path` may be replaced.

    Returns:
        The path. Nothing is left there where writing fails.

    Raises:
        ValueError: If the format, the path or a domain does not suit.
        FileExistsError: If there is something at `path`, without `overwrite`.
        ImportError: If what writes the format is not installed.
        RuntimeError: If the TensorFlow process fails.

    Example:
        >>> import tempfile
        >>> from keras_univrep.applications import UniversalResNet26
        >>> from keras_univrep.conversion import export
        >>> model = UniversalResNet26(weights="five_domains")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(model, f"{folder}/served", domains=["eurosat"]).name
        'served'
    """
    path = pathlib.Path(path).absolute()
    _check(model, path, format, image_size, overwrite)
    if isinstance(model, MultiDomainModel):
        domains = model.domains if domains is None else tuple(domains)
        for name in domains:
            check_domain(name, model.domains, model.name)
        if DEFAULT in domains and format != "onnx":
            raise ValueError(
                f"A domain must not have the name of the signature of all, {DEFAULT!r}. Received: "
                f"domains={list(domains)}. Rename it: `model.rename_domain({DEFAULT!r}, name)`."
            )
        _check_preprocess(preprocess, domains)
    elif fused or domains is not None or isinstance(preprocess, Mapping):
        raise ValueError(
            "`domains`, `fused` and statistics by domain are for a MultiDomainModel. Received: "
            f"domains={domains}, fused={fused} with a {type(model).__name__}. Leave them out."
        )
    options: dict[str, Any] = {
        "domains": None if domains is None else list(domains),
        "size": tuple(image_size or (None, None)),
        "fused": fused,
        "preprocess": preprocess,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    if keras.backend.backend() == "tensorflow":
        write(model, path, format, options)
    else:
        _write_elsewhere(model, path, format, options, modules)
    return path


def _write_elsewhere(
    model: keras.Model,
    path: pathlib.Path,
    format: str,
    options: Mapping[str, Any],
    modules: Sequence[str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        saved, request = pathlib.Path(folder) / "model.keras", pathlib.Path(folder) / "request.json"
        model.save(saved)
        asked = {"model": str(saved), "path": str(path), "format": format}
        request.write_text(json.dumps({**asked, "options": options, "modules": list(modules)}))
        process = subprocess.run(
            [sys.executable, "-m", "keras_univrep.conversion._files", str(request)],
            env={**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if process.returncode != 0:
        raise RuntimeError(
            "A TensorFlow process must be able to read and write the network. Received: "
            f"{process.stderr.strip()[-1500:]}\nWhere it has classes of your own, give the modules "
            "that register them as `modules`; or run this with KERAS_BACKEND=tensorflow."
        )


def _check(model: Any, path: pathlib.Path, format: str, image_size: Any, overwrite: bool) -> None:
    if format not in SUFFIXES:
        raise ValueError(
            f"`format` must be one of {', '.join(SUFFIXES)}. Received: format={format!r}. For "
            "other formats see `for_domain` and `keras.Model.export`."
        )
    if path.suffix != SUFFIXES[format] and SUFFIXES[format]:
        raise ValueError(
            f"A file of format {format!r} must end with '{SUFFIXES[format]}'. Received: "
            f"{path.name!r}. Rename it."
        )
    if format == "litert" and image_size is None:
        raise ValueError(
            "LiteRT must know the size of the images. Received: image_size=None. Give "
            "image_size=(height, width)."
        )
    if path.exists() and not overwrite:
        raise FileExistsError(
            f"`path` must be free. Received: {path}. Choose another, or pass overwrite=True."
        )
    if importlib.util.find_spec(_NEEDS[format]) is None:
        raise ImportError(
            f"{_NEEDS[format]} writes the format {format!r}. Received: no module "
            f"`{_NEEDS[format]}`. Install it by `pip install 'keras_univrep[export]'`."
        )
    functional = hasattr(model, "operations") and len(getattr(model, "inputs", [])) == 1
    if not (isinstance(model, MultiDomainModel) or functional):
        raise ValueError(
            "`model` must be a MultiDomainModel or a functional model of one batch of images. "
            f"Received: {type(model).__name__}. Wrap it as `keras.Model(images, outputs)`."
        )


def _check_preprocess(preprocess: Any, domains: Sequence[str]) -> None:
    if isinstance(preprocess, Mapping) and (missing := set(domains) - set(preprocess)):
        raise ValueError(
            "`preprocess` must hold (mean, std) of each domain. Received: none of "
            f"{', '.join(sorted(missing))}. Give theirs too, as `Domain.mean` and `Domain.std`."
        )
