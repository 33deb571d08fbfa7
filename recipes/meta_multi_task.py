"""Meta-trains one backbone for four kinds of tasks, and meets new sub-tasks of each.

Paper: Lekkala and Itti, "Attentive feature reuse for multi task meta learning" (2020), table 1: on
Multi Meta Tasks, a set that is not public, the modulator against the baseline, with one high-level
task (--tasks=depth) and with several. Here `datasets.mmt_local` stands in for it: numbers do not
compare with the paper's, rows of this recipe do with one another. With `--rooms_dir`, the NYUv2
files of Liu et al., rooms come from there and scenes from Places, a builder of TensorFlow Datasets
in `--data_dir` or the class folders of `--places_dir`.

    python recipes/meta_multi_task.py --data_dir=... --output_dir=runs/mmt --method=modulator
    python recipes/meta_multi_task.py --output_dir=runs/smoke --smoke

Conv-4 with a fully connected head for classes, which adapts to each sub-task, one for vanishing
points, and heads of transposed convolutions for depth (4 filters) and normals (8 filters), which do
not. The weights of
the lowest validation loss are kept, and the test sub-tasks are read once, at the end: accuracy, and
squared error and the share of numbers within 0.001 of their labels, each with its 95 % interval
over sub-tasks. A killed run goes on where it was when the same command is given again.

Expected: docs/results.md. Hardware: one core, ten minutes.
"""

import csv
import logging
import pathlib
import time

import keras
import numpy as np
from absl import app, flags

from keras_univrep import backbones, datasets, evaluation, layers, losses, metrics, models, plotting
from keras_univrep.callbacks import ProgressBar

TASKS = ("classification", "depth", "normals", "vanishing_point")
METHODS = ("baseline", "modulator", "probabilistic_modulator")
WAY, CHANNELS, FILTERS_OF_HEAD = 5, {"depth": 1, "normals": 3}, {"depth": 4, "normals": 8}
# Kind of label, length and loss of what a fully connected head gives.
VECTORS = {
    "classification": (
        *("classes", WAY), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    ),
    "vanishing_point": ("vector", 2, keras.losses.MeanSquaredError()),
}  # fmt: skip
# Steps of training and between validations, sub-tasks of each task for validation and test.
PRESETS = {
    "local": {"train": 600, "epoch": 100, "validation": 24, "test": 100},
    "long": {"train": 5000, "epoch": 250, "validation": 60, "test": 300},
    "smoke": {"train": 4, "epoch": 2, "validation": 2, "test": 4},
}
SPLITS = ("train", "validation", "test")
COLUMNS = (
    *("method", "task", "trained_with", "accuracy", "accuracy_interval"),
    *("error", "error_interval", "sub_tasks", "parameters"),
)

# Data
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of the local sets, or of the builders.")
ROOMS = flags.DEFINE_string("rooms_dir", None, "NYUv2 of Liu et al., in place of the local sets.")
PLACES = flags.DEFINE_string("places_dir", None, "Class folders of scenes, with --rooms_dir.")
SIZE = flags.DEFINE_integer("image_size", 64, "In pixels, a multiple of 16.")
NAMES = flags.DEFINE_list("tasks", list(TASKS), f"Some of {list(TASKS)}.")
SHOT = flags.DEFINE_integer("shot", 1, "Support images of each class.")
QUERY = flags.DEFINE_integer("query", 5, "Query images of each class.")
# Model
METHOD = flags.DEFINE_enum("method", "baseline", METHODS, "What modulates.")
FILTERS = flags.DEFINE_integer("filters", 32, "Channels of each block of Conv-4.")
UNITS = flags.DEFINE_integer("units", 8, "Of a modulator; 8 keep it below a tenth of Conv-4.")
# Training
PRESET = flags.DEFINE_enum("preset", "local", list(PRESETS), "Numbers of steps and sub-tasks.")
SUB_TASKS = flags.DEFINE_integer("sub_tasks", 2, "Sub-tasks of each task in a step.")
INNER = flags.DEFINE_float("inner_rate", 0.1, "Rate of the inner steps.")
STEPS = flags.DEFINE_integer("steps", 5, "Inner steps of training; tests take twice as many.")
RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam.")
MODULATOR_RATE = flags.DEFINE_float("modulator_rate", 1e-3, "Of the modulators' own Adam.")
BALANCER = flags.DEFINE_string("balancer", "uniform", "Weighs the losses of the tasks.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the weights and of all sub-tasks.")
# Output
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A minute-long run that shows that all works.")


def load(settings, data_dir, smoke):
    """Returns the sub-tasks of each split."""
    size, names = settings["image_size"], settings["tasks"]
    numbers = {name: settings[name] for name in ("shot", "query", "seed")}
    if smoke and ROOMS.value is None:
        return dict.fromkeys(SPLITS, smoke_tasks(size, names, numbers))
    if ROOMS.value is None:
        return {
            split: datasets.mmt_local(data_dir, split, size, names, **numbers) for split in SPLITS
        }
    folders = {"places": PLACES.value} if PLACES.value else None
    places = datasets.cross_domain_few_shot("places", data_dir, folders, size, images_per_class=600)
    rooms = datasets.nyuv2(ROOMS.value, tasks=("depth",), validation=20 if smoke else 100)
    return {
        split: datasets.mmt(split, getattr(places, split), rooms, size=size, tasks=names, **numbers)
        for split in SPLITS
    }


def smoke_tasks(size, names, numbers):
    """Sub-tasks of what ships with the package: one split, and labels that mean nothing."""
    images, labels = datasets.load_domain("eurosat").arrays("train")
    images = images[:, :size, :size]
    shapes = {"depth": (size, size, 1), "normals": (size, size, 3), "vanishing_point": (2,)}
    rng = np.random.default_rng(0)
    views = {
        task: (images[:16], rng.random((16, *shapes[task])), np.arange(16) // 8)
        for task in names
        if task in shapes
    }
    classes = {"eurosat": (images, labels)} if "classification" in names else {}
    return datasets.MultiMetaTasks(classes, views, **numbers)


def make_model(method, settings):
    """Returns the meta-learner, compiled."""
    size, filters, names = settings["image_size"], settings["filters"], settings["tasks"]
    body = backbones.Conv4(filters, size, 3, pooling=None)
    heads, task_losses, modulators = {}, {}, {}
    count = models.MultiTaskMetaLearner.modulated_channels(body)
    kinds = {
        "modulator": layers.AttentionModulator,
        "probabilistic_modulator": layers.ProbabilisticAttentionModulator,
    }
    for task in names:
        if task in VECTORS:
            kind, length, task_losses[task] = VECTORS[task]
            heads[task] = keras.Sequential(
                [keras.Input((size >> 4, size >> 4, filters)), keras.layers.Flatten(),
                 keras.layers.Dense(length)], name=f"{task}_head",
            )  # fmt: skip
            labels = {"labels": kind, "label_size": length}
        else:
            heads[task] = backbones.ConvTransposeHead(
                CHANNELS[task], filters, FILTERS_OF_HEAD[task], name=f"{task}_head"
            )
            task_losses[task] = losses.MaskedSquaredError()
            labels = {"labels": "map", "label_size": CHANNELS[task]}
        if method in kinds:
            modulators[task] = kinds[method](
                count, units=settings["units"], name=f"{task}_modulator", **labels
            )
    model = models.MultiTaskMetaLearner(
        body, heads, modulators, [task for task in names if task != "classification"],
        settings["steps"], settings["inner_rate"], test_steps=2 * settings["steps"],
    )  # fmt: skip
    model.compile(
        keras.optimizers.Adam(settings["learning_rate"]),
        task_losses,
        modulator_optimizer=keras.optimizers.Adam(settings["modulator_rate"]),
        balancer=settings["balancer"],
        # On processors XLA's convolutions are several times slower than TensorFlow's own.
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


def train(model, name, parts, counts, settings, folder):
    """Trains the model, resumably, and leaves the best weights in `best.weights.h5`."""
    best, history = folder / "best.weights.h5", folder / "training" / "history.csv"
    if (folder / "trained").exists():
        return best
    known = read_history(history, "loss")["validation"].values() if best.exists() else ()
    keep = keras.callbacks.ModelCheckpoint(
        best, monitor="val_loss", mode="min", save_best_only=True, save_weights_only=True,
        initial_value_threshold=min(known, default=None),
    )  # fmt: skip
    bar = ProgressBar(name, counts["epoch"], counts["train"] // counts["epoch"])
    models.resumable_fit(
        model, lambda first: parts["train"].batches(settings["sub_tasks"], first), counts["train"],
        history.parent, counts["epoch"], [keep, bar],
        validation_data=parts["validation"].batch(0, counts["validation"]),
        validation_batch_size=settings["sub_tasks"],
    )  # fmt: skip
    (folder / "trained").touch()
    return best


def read_history(path, name):
    """Returns the losses of a name by the epoch after which they were logged."""
    columns = {"validation": {}, "training": {}}
    if path.exists():
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                for title, column in zip(columns, (f"val_{name}", name), strict=True):
                    columns[title][int(row["epoch"]) + 1] = float(row[column])
    return columns


def draw_curves(folder, counts, method, tasks):
    """Draws the losses of training, those of each task as the paper's figure 5."""
    history = folder / "training" / "history.csv"
    for file, name in (("curve", "loss"), *((f"curve-{task}", f"{task}_loss") for task in tasks)):
        curves = {
            title: {number * counts["epoch"]: [value] for number, value in values.items()}
            for title, values in read_history(history, name).items()
        }
        title = f"{method}, {'all tasks' if name == 'loss' else file.removeprefix('curve-')}"
        plotting.plot_curves(folder / f"{file}.png", curves, "steps", "loss", title)
    return min(read_history(history, "loss")["validation"].values())


def test(model, tasks, count, sub_tasks):
    """Returns numbers of each sub-task, by task and column of the table."""
    found = {}
    for number in range(count // sub_tasks):
        batch = tasks.batch(number, sub_tasks)
        for task, outputs in model.predict_on_batch(batch).items():
            for output, label in zip(np.asarray(outputs), batch[task]["query"][1], strict=True):
                for name, value in judge(task, output, label).items():
                    found.setdefault(task, {}).setdefault(name, []).append(value)
    return found


def judge(task, output, label):
    """Numbers of one sub-task: per cent that are right, and the squared error of known labels."""
    if task == "classification":
        return {"accuracy": 100 * float(np.mean(output.argmax(-1) == label))}
    known = np.any(label != 0, axis=-1)
    if not known.any():
        return {}
    within = metrics.AccuracyWithin(1e-3)
    within.update_state(label[known], output[known])
    error = float(np.mean(np.square(output[known] - label[known])))
    return {"accuracy": 100 * float(within.result()), "error": error}


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start, smoke, method = time.time(), SMOKE.value, METHOD.value
    counts = PRESETS["smoke" if smoke else PRESET.value]
    settings = {
        "method": method, "tasks": [task for task in TASKS if task in NAMES.value],
        "image_size": 16 if smoke else SIZE.value, "shot": SHOT.value,
        "query": 2 if smoke else QUERY.value, "filters": 4 if smoke else FILTERS.value,
        "sub_tasks": SUB_TASKS.value, "inner_rate": INNER.value,
        "steps": 1 if smoke else STEPS.value, "learning_rate": RATE.value,
        "modulator_rate": MODULATOR_RATE.value, "units": UNITS.value, "balancer": BALANCER.value,
        "seed": SEED.value, "counts": counts,
    }  # fmt: skip
    folder = pathlib.Path(OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    evaluation.keep_settings(folder, settings)
    parts = load(settings, DATA_DIR.value, smoke)
    keras.utils.set_random_seed(SEED.value)
    model = make_model(method, settings)
    model.load_weights(train(model, method, parts, counts, settings, folder))
    rows = []
    found = test(model, parts["test"], counts["test"], SUB_TASKS.value)
    for task, columns in found.items():
        row = {"method": method, "task": task, "trained_with": len(settings["tasks"])}
        for name, values in columns.items():
            mean, half = metrics.confidence_interval(values)
            row |= {name: round(mean, 5), f"{name}_interval": round(half, 5)}
            row["sub_tasks"] = len(values)
        rows.append(row | {"parameters": model.count_params()})
    validation = draw_curves(folder, counts, method, settings["tasks"])
    evaluation.show_table(
        [{name: row.get(name, "-") for name in COLUMNS} for row in rows], "Sub-tasks never seen"
    )
    evaluation.write_results(
        folder / "results.json", rows, SEED.value, time.time() - start,
        validation=validation,
        **{key: value for key, value in settings.items() if key not in ("seed", "method")},
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
