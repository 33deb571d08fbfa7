"""Teaches a trained network a domain of one's own, as a small file of adapters."""

import hashlib
import json
import pathlib
import time
from typing import Any

import keras
import numpy as np

from keras_univrep import applications, datasets, evaluation, models
from keras_univrep.backbones import AdaptedBackbone
from keras_univrep.models import MultiDomainModel
from keras_univrep.optimizers import CoupledSGD, l2_for_size
from keras_univrep.programs._networks import load_classifier
from keras_univrep.programs._pictures import image_files
from keras_univrep.programs._smoke import write_examples


def add_domain(
    output_dir: str,
    images: str | None = None,
    name: str | None = None,
    weights: str = "five_domains",
    steps: int = 500,
    batch_size: int = 64,
    learning_rate: float = 0.25,
    flip: bool = False,
    seed: int = 0,
    smoke: bool = False,
) -> dict[str, Any]:
    """Trains parallel adapters for the images of a folder on a frozen network, with a report.

    Leaves `NAME.zip`, a domain pack, `report.md` and `results.json`. The pack loads by
    `applications.from_domain_packs(weights, [pack])`, which makes a network of it over the trunk of
    the weights; onto a network that has adapters already, as that of "vdd", also by
    `models.load_domain_pack`. A killed run goes on where it was when given again. Settings are
    those of `recipes/train_domain_adapters.py`.

    Args:
        output_dir: Folder of the pack and the report.
        images: A folder with a folder of images for each class, or with `train`, `validation` and
            `test` of such folders: see `datasets.domain_from_folder`.
        name: Name of the domain; the folder's by default.
        weights: A name of `list_weights()`, whose network is the trunk.
        steps: Steps of the training.
        batch_size: Images of a step.
        learning_rate: Highest rate.
        flip: Whether a mirrored image keeps its class.
        seed: Seed of initialisation, order and division.
        smoke: Whether to try it on images that ship with the package.

    Returns:
        `pack`, the path, `validation` and `test`, accuracies in per cent, and `parameters`, what
        the domain takes over the trunk.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If the folder's images do not make a domain, or the folder of results is that
            of other settings or images.

    Example:
        `keras-univrep add_domain --images=mine --output_dir=out`
    """
    start = time.time()
    folder = pathlib.Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if smoke:
        images = str(write_examples(folder / "examples"))
        name, steps, batch_size = "examples", 2, 8
    if images is None:
        raise ValueError(
            "`images` must be a folder of class folders. Received: images=None. Pass one."
        )
    network, entry = load_classifier(weights)
    size = next(iter(entry.domains.values())).input_size[0]
    domain = datasets.domain_from_folder(images, size, seed=seed, name=name, flip=flip)
    evaluation.keep_settings(
        folder,
        {
            "images": str(images), "domain": domain.name, "weights": entry.sha256, "steps": steps,
            "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed, "flip": flip,
            "classes": list(domain.class_names), "files": _digest(pathlib.Path(images)),
        },
    )  # fmt: skip
    keras.utils.set_random_seed(seed)
    model = _with_domain(network, domain.name, domain.num_classes)
    trunk = model.backbone.trunk.count_params()
    warmup = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        learning_rate / 10, max(1, steps - warmup), warmup_target=learning_rate,
        warmup_steps=warmup,
    )  # fmt: skip
    l2 = l2_for_size(domain.size("train"))
    model.compile(CoupledSGD(schedule, momentum=0.9, l2=l2, global_clipnorm=10.0))
    per_epoch = 50 if steps % 50 == 0 else steps

    def batches(first_step: int) -> Any:
        return datasets.endless_batches(
            {domain.name: domain}, "train", batch_size, seed=seed, first_step=first_step
        )

    # It needs rich, which what uses trained networks otherwise does not.
    from keras_univrep.callbacks import ProgressBar

    bar = ProgressBar(domain.name, per_epoch, steps // per_epoch)
    path = folder / f"{domain.name}.zip"
    if not path.exists():
        models.resumable_fit(model, batches, steps, folder / "training", per_epoch, [bar])
        models.save_domain_pack(
            model, domain.name, path, domain.class_names, f"from the folder {images}",
            {"mean": list(domain.mean), "std": list(domain.std), "shape": list(domain.image_shape)},
        )  # fmt: skip
    else:
        model = applications.from_domain_packs(weights, [path])
    result: dict[str, Any] = {"method": "parallel adapters", "domain": domain.name}
    for split in ("validation", "test"):
        if split in domain.splits:
            found = evaluation.domain_accuracy(model, {domain.name: domain}, split)[domain.name]
            result[split] = round(found, 2)
    own = sum(
        int(np.prod(weight.shape)) for weight in model.backbone.domain_weights(domain.name).values()
    )
    result["parameters"] = round((own + model.head(domain.name).count_params()) / trunk, 3)
    evaluation.write_results(folder / "results.json", [result], seed, time.time() - start)
    (folder / "report.md").write_text(_report(domain, result, entry.name, steps, path))
    return {**result, "pack": str(path)}


def _with_domain(network: MultiDomainModel, name: str, classes: int) -> MultiDomainModel:
    """A network of the new domain alone, over the trunk of a trained one."""
    backbone = network.backbone
    trunk = backbone.trunk if isinstance(backbone, AdaptedBackbone) else backbone
    return MultiDomainModel(AdaptedBackbone(trunk, [name]), {name: classes})


def _digest(folder: pathlib.Path) -> str:
    """Of the names of a folder's images and their sizes: others make another domain."""
    files = [
        (file.relative_to(folder).as_posix(), file.stat().st_size) for file in image_files(folder)
    ]
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]


def _report(
    domain: datasets.Domain, result: dict[str, Any], weights: str, steps: int, path: pathlib.Path
) -> str:
    sizes = ", ".join(f"{split} {domain.size(split)}" for split in domain.splits)
    scores = ", ".join(
        f"{split} {result[split]} %" for split in ("validation", "test") if split in result
    )
    classes = ", ".join(domain.class_names)
    return (
        f"# {domain.name}\n\nParallel adapters on the network {weights!r}, {steps} steps.\n\n"
        f"- images: {sizes}\n- classes ({domain.num_classes}): {classes}\n"
        f"- accuracy: {scores}\n- parameters of the domain over the trunk's: "
        f"{result['parameters']}\n- pack: `{path.name}`, which loads by\n"
        f"  `applications.from_domain_packs({weights!r}, [{path.name!r}])`\n"
    )
