"""Trains segmentation, depth and normals in one network, under balancers and by distillation.

Paper: Li, Liu, Bilen, "Universal representations" (li2022), tables 1 to 5: single-task networks
(STL), one network for all tasks under a balancer (MTL), the universal network that is distilled
from the single-task ones (URL), and both (URL + a balancer), by their errors and Delta_MTL. On
`datasets.nyu_local`: NYU Depth V2 with rounded depth and derived normals; `--layout=liu2019`
opens the files of the paper.

    python recipes/balance_nyu.py --data_dir=... --output_dir=runs/nyu
    python recipes/balance_nyu.py --data_dir=... --output_dir=runs/nyu --method=URL --method=cagrad
    python recipes/balance_nyu.py --output_dir=runs/smoke --smoke

A method is the name of a balancer, "URL", "BAM" (distillation of predictions), or "URL+" and the
name of a balancer. The single-task networks are trained first: they are the teachers, and what
Delta_MTL is measured against. What is there is not trained again, and a killed run goes on where
it was when the same command is given again. The test split is read once for each network.

Expected: docs/results.md. Hardware: two cores, about ten minutes a network.
"""

import csv
import json
import logging
import pathlib
import time

import keras
import numpy as np
from absl import app, flags

from keras_univrep import (
    backbones,
    balancers,
    datasets,
    evaluation,
    losses,
    metrics,
    models,
    plotting,
)  # fmt: skip
from keras_univrep.callbacks import ProgressBar

BACKBONES = {
    "segnet": backbones.SegNet, "mtan": backbones.MTAN, "hrnet18": backbones.HRNet18,
    "pad_net": backbones.PADNet, "mti_net": backbones.MTINet,
}  # fmt: skip
# Where student and teacher are compared: the trunk's maps.
LAYERS = {
    "segnet": ("bottleneck", "features"),
    "mtan": ("bottleneck", "features"),
    **dict.fromkeys(("hrnet18", "pad_net", "mti_net"), ("scale1", "scale2", "scale3", "scale4")),
}
# Where the trunk ends; MTAN's tasks look into all of it.
SHARED = {name: ["features"] if "features" in maps else list(maps)
          for name, maps in LAYERS.items() if name != "mtan"}  # fmt: skip
SINGLE = {"mtan": "segnet", "pad_net": "hrnet18", "mti_net": "hrnet18"}
TABLE = ["uniform", "uncertainty", "dwa", "imtl_l", "URL", "URL+uncertainty"]
# What the table shows of each task, and whether less is better; the first counts in Delta_MTL.
COLUMNS = {
    "segmentation": [("mIoU", False)],
    "depth": [("abs. error", True), ("rel. error", True)],
    "normals": [("mean angle", True), ("median angle", True), ("within 11.25", False)],
}
# Of the features' terms, as in the authors' code.
WEIGHTS = {"segmentation": 1.0, "depth": 1.0, "normals": 2.0}
PRESETS = {
    "local": {"steps": 700, "epoch": 50, "batch": 8, "rate": 1e-3, "size": [96, 128]},
    "paper": {"steps": 79400, "epoch": 397, "batch": 2, "rate": 1e-4, "size": [288, 384]},
    "smoke": {"steps": 2, "epoch": 1, "batch": 2, "rate": 1e-3, "size": [32, 32]},
}

# Data
DATA = flags.DEFINE_string("data_dir", None, "Folder of the image sets, or of the paper's files.")
LAYOUT = flags.DEFINE_enum("layout", "local", ["local", "liu2019"], "What --data_dir holds.")
CACHE = flags.DEFINE_string("cache_dir", None, "Folder of derived normals; Keras's by default.")
# Model
BACKBONE = flags.DEFINE_enum("backbone", "segnet", list(BACKBONES), "Architecture of all tasks.")
WIDTH = flags.DEFINE_float("width", 0.25, "Factor of the channel numbers.")
METHOD = flags.DEFINE_multi_string("method", TABLE, "Rows of the table besides STL.")
# Distillation
FEATURE_LOSS = flags.DEFINE_enum(
    "feature_loss", "normalized_l2", ["normalized_l2", "cosine", "attention_transfer"], "Of URL."
)
ADAPTER = flags.DEFINE_enum("adapter", "linear", ["linear", "nonlinear", "none"], "Of URL.")
MATCH = flags.DEFINE_enum(
    "match", "last", ["last", "each"], "Maps of a teacher: its last for all, or each its own."
)
DISTILLATION = flags.DEFINE_float("distillation", 1.0, "Factor of the distillation terms.")
# Training
PRESET = flags.DEFINE_enum("preset", "local", list(PRESETS), "Length, rate and size of images.")
STEPS = flags.DEFINE_integer("steps", None, "Steps of each network; by default the preset's.")
RATE = flags.DEFINE_float("learning_rate", None, "First rate of Adam; by default the preset's.")
SEED = flags.DEFINE_multi_integer("seed", [0], "Seeds of everything; may repeat.")
# Output
PICTURES = flags.DEFINE_integer("pictures", 3, "Test images to draw.")
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
COSINES = flags.DEFINE_boolean(
    "log_cosines",
    False,
    "Log and draw the cosines of gradients of every method, for a pass a task.",
)
SMOKE = flags.DEFINE_boolean("smoke", False, "A minute-long run that shows that all works.")


def load(layout, data_dir, cache_dir, size, smoke):
    """Returns the domain with its splits for training, selection and test."""
    if smoke and data_dir is None:
        return datasets.random_rooms((size[0], size[1]))
    if layout == "liu2019":
        return datasets.nyuv2(data_dir, image_size=tuple(size), validation=100)
    return datasets.resize_dense(
        datasets.nyu_local(data_dir, cache_dir=cache_dir), (size[0], size[1])
    )


def task_losses(tasks):
    """Returns the loss of each task."""
    known = {
        "segmentation": losses.SegmentationCrossEntropy(),
        "depth": losses.DepthL1(),
        "normals": losses.NormalCosine(),
    }
    return {task: known[task] for task in tasks}


def task_metrics(tasks, classes):
    """Returns the metrics of each task, in the order of `COLUMNS`."""
    known = {
        "segmentation": [metrics.MeanIoU(classes)],
        "depth": [metrics.DepthError(), metrics.DepthError(relative=True)],
        "normals": [metrics.NormalError(statistic) for statistic in ("mean", "median", 11.25)],
    }
    return {task: known[task] for task in tasks}


def adam(rate, steps):
    """Returns Adam with a cosine to zero, and a rate of their own for the alignment adapters."""
    decay = keras.optimizers.schedules.CosineDecay
    network = keras.optimizers.Adam(decay(rate, steps), epsilon=1e-8)
    return models.UniversalDistiller.optimizer_groups(network, steps)


def fit(model, domain, settings, folder, title, seed, tasks=None):
    """Trains the compiled model, resumably."""
    steps, per_epoch = settings["steps"], settings["epoch"]

    def batches(first_step):
        return datasets.dense_pipeline(
            domain, "train", settings["batch"], True, seed=seed, first_step=first_step, tasks=tasks
        )

    bar = ProgressBar(title, per_epoch, steps // per_epoch)
    models.resumable_fit(model, batches, steps, folder, per_epoch, [bar])


def measure(network, domain, split, tasks, batch):
    """Returns the metrics of each task on a whole split."""
    found = task_metrics(tasks, domain.channels.get("segmentation"))
    for images, targets in datasets.dense_pipeline(domain, split, batch, tasks=tasks):
        outputs = network.predict_on_batch(np.asarray(images))
        for task in tasks:
            for metric in found[task]:
                metric.update_state(np.asarray(targets[task]), outputs[task])
    return {
        task: [
            # mIoU and the relative error come as fractions, the share of angles in per cent.
            round(float(m.result()) * (100 if name in ("mIoU", "rel. error") else 1), 4)
            for m, (name, _) in zip(found[task], COLUMNS[task], strict=True)
        ]
        for task in tasks
    }


def settle(network, domain, tasks, folder, batch):
    """Keeps the trained network and reads validation and test once; returns what they gave."""
    network.save(folder / "partial.keras", overwrite=True)
    found = {split: measure(network, domain, split, tasks, batch)
             for split in ("validation", "test")}  # fmt: skip
    (folder / "measured.json").write_text(json.dumps(found))
    (folder / "partial.keras").replace(folder / "network.keras")
    return found


def finished(folder):
    """Returns the network of a folder and what was measured, or None before it is trained."""
    if not (folder / "network.keras").exists():
        return None
    network = keras.models.load_model(folder / "network.keras", compile=False)
    return network, json.loads((folder / "measured.json").read_text())


def train(build, balancer, domain, settings, folder, title, seed, tasks):
    """Returns a trained network of some tasks and what was measured.

    `build` returns the network and what the balancer trains: the same, or a distiller around it.
    """
    known = finished(folder)
    if known is not None:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    network, trained = build()
    ends, logs = SHARED.get(settings["backbone"]), settings["log_cosines"] and len(tasks) > 1
    model = multi_task_model(trained, balancer, ends, logs)
    model.compile(
        adam(settings["rate"], settings["steps"]), task_losses(tasks), balancer=balancer,
        # On processors XLA's convolutions are several times slower than TensorFlow's own.
        jit_compile=keras.backend.backend() == "jax",
    )  # fmt: skip
    fit(model, domain, settings, folder / "training", title, seed, tasks)
    found = settle(network, domain, tasks, folder, settings["batch"])
    draw_conflict(folder, title)
    return network, found


def multi_task_model(trained, balancer, ends, log_cosines):
    """Returns the model that trains a network, or a distiller, whose trunk ends at some layers."""
    balancer = balancers.get(balancer)
    # Where the balancer compares gradients anyway, their cosines cost nothing.
    logs = log_cosines or balancer.needs_gradients
    shared = ends if balancer.needs_representation else None
    return models.MultiTaskModel(trained, shared=shared, log_cosines=logs)


def draw_conflict(folder, title):
    """Draws the cosines between gradients, where they were logged."""
    with open(folder / "training" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = {
        name.removesuffix("_cosine").replace("_", " and "): [float(row[name]) for row in rows]
        for name in rows[0]
        if name.endswith("_cosine") and not name.startswith("val_")  # which Keras leaves empty
    }
    if pairs:
        path, words = folder / "conflict.png", {"x_label": "epoch", "title": title}
        plotting.plot_gradient_conflict(path, pairs, **words)


def distilled(network, teachers, predictions, settings):
    """Returns the network with what pulls it towards its teachers."""
    if predictions:
        return models.DenseDistiller(
            network, teachers, feature_loss=None, prediction_weight=settings["distillation"],
            prediction_loss={
                "segmentation": losses.KLDistillation(1.0),
                "depth": keras.losses.MeanAbsoluteError(),
                "normals": losses.CosineDistance(),
            },
        )  # fmt: skip
    layers = LAYERS[settings["backbone"]]
    return models.DenseDistiller(
        network, teachers, student_layers=layers,
        teacher_layers=layers if settings["match"] == "each" else layers[-1 if "features" in layers
                                                                         else 0],
        feature_loss=settings["feature_loss"], adapter=settings["adapter"],
        feature_weight={task: settings["distillation"] * WEIGHTS[task] for task in teachers},
    )  # fmt: skip


def run(domain, methods, settings, folder, seed):
    """Returns what was measured of each method, and the networks."""
    tasks = list(domain.channels)
    kind, width = settings["backbone"], settings["width"]

    def single(task):
        network = BACKBONES[SINGLE.get(kind, kind)]({task: domain.channels[task]}, width=width)
        return network, network

    teachers, found, networks = {}, {"STL": {"validation": {}, "test": {}}}, {}
    for task in tasks:
        teachers[task], measured = train(
            lambda task=task: single(task), "uniform", domain, settings, folder / f"stl_{task}",
            f"single-task {task}, seed {seed}", seed, [task],
        )  # fmt: skip
        for split, values in measured.items():
            found["STL"][split] |= values
    for method in methods:
        goal, _, balancer = method.rpartition("+")
        if method in ("URL", "BAM"):
            goal, balancer = method, "uniform"

        def build(goal=goal):
            network = BACKBONES[kind](domain.channels, width=width)
            if not goal:
                return network, network
            return network, distilled(network, teachers, goal == "BAM", settings)

        networks[method], found[method] = train(
            build, balancer, domain, settings, folder / method.replace("+", "_"),
            f"{method}, seed {seed}", seed, tasks,
        )  # fmt: skip
    return found, networks, teachers


def table_of(found, split):
    """Returns a row for each method of one seed."""
    rows = []
    for method, measured in found.items():
        line = {"method": method}
        for task, values in measured[split].items():
            line |= {
                f"{task}, {name}": round(value, 3)
                for (name, _), value in zip(COLUMNS[task], values, strict=True)
            }
        first = {task: values[0] for task, values in measured[split].items()}
        line["Delta_MTL"] = round(
            metrics.delta_mtl(
                first,
                {task: values[0] for task, values in found["STL"][split].items()},
                {task: COLUMNS[task][0][1] for task in first},
            ),
            2,
        )
        rows.append(line)
    return rows


def means(tables):
    """Returns the mean of each number over seeds, with each seed's Delta_MTL."""
    rows = []
    for lines in zip(*tables, strict=True):
        mean = {
            name: round(float(np.mean([line[name] for line in lines])), 3)
            for name in lines[0]
            if name != "method"
        }
        deltas = ", ".join(f"{line['Delta_MTL']:+.2f}" for line in lines)
        rows.append({"method": lines[0]["method"], **mean, "of each seed": deltas})
    return rows


def draw(domain, networks, teachers, count, path):
    """Draws predictions of all methods on some test images."""
    images, targets = domain.arrays("test")
    # Spread over the split, as neighbours show the same room.
    chosen = np.linspace(0, len(images) - 1, count).astype(int)
    shown = images[chosen].astype("float32") / 255.0
    predictions = {
        "STL": {task: teacher.predict_on_batch(shown)[task] for task, teacher in teachers.items()}
    }
    for method, network in networks.items():
        predictions[method] = network.predict_on_batch(shown)
    plotting.plot_dense_maps(
        path, images[chosen], {task: maps[chosen] for task, maps in targets.items()},
        predictions, class_names=domain.class_names["segmentation"],
    )  # fmt: skip


def check_methods(methods, with_ends=tuple(SHARED)):
    """Raises an error for a method that there is not, or not with the backbone."""
    for method in set(methods) - {"URL", "BAM"}:
        goal, _, balancer = method.rpartition("+")
        try:
            balancer = balancers.get(balancer)
        except ValueError as error:
            raise app.UsageError(f"--method={method}: {error}") from error
        if goal not in ("", "URL", "BAM"):
            raise app.UsageError(
                f"--method must be a balancer, URL, BAM, or URL+ and one. Received: {method}."
            )
        if balancer.needs_representation and (goal == "BAM" or BACKBONE.value not in with_ends):
            raise app.UsageError(
                f"--method={method} needs a trunk that no task goes around, and no BAM. Received: "
                f"--backbone={BACKBONE.value}. Take one of {list(with_ends)}, or mgda."
            )


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start, smoke = time.time(), SMOKE.value
    methods = ["URL"] if smoke and not METHOD.present else METHOD.value
    check_methods(methods)
    settings = dict(PRESETS["smoke" if smoke else PRESET.value])
    settings |= {
        "steps": STEPS.value or settings["steps"], "rate": RATE.value or settings["rate"],
        "backbone": BACKBONE.value, "width": 0.0625 if smoke else WIDTH.value,
        "feature_loss": FEATURE_LOSS.value, "adapter": ADAPTER.value, "match": MATCH.value,
        "distillation": DISTILLATION.value,
    }  # fmt: skip
    folder = pathlib.Path(OUTPUT.value)
    evaluation.keep_settings(folder, settings)
    settings["log_cosines"] = COSINES.value  # Whatever the folder's networks logged so far.
    domain = load(LAYOUT.value, DATA.value, CACHE.value, settings["size"], smoke)
    tables = {"validation": [], "test": []}
    for seed in SEED.value:
        found, networks, teachers = run(domain, methods, settings, folder / f"seed{seed}", seed)
        for split, rows in tables.items():
            rows.append(table_of(found, split))
        draw(domain, networks, teachers, PICTURES.value, folder / f"seed{seed}" / "maps.png")
    averaged = {split: means(rows) for split, rows in tables.items()}
    evaluation.show_table(averaged["validation"], "Validation", 200)
    evaluation.show_table(averaged["test"], "Test", 200)
    evaluation.write_results(
        folder / "results.json", averaged["test"], SEED.value[0], time.time() - start,
        validation=averaged["validation"], seeds=SEED.value, **settings,
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
