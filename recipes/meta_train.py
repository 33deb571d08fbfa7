"""Meta-trains Conv-4 on few-shot image classification and tests it on classes it has never seen.

Papers: Lekkala and Itti, "Attentive feature reuse for multi task meta learning" (2020), table 2,
mini-ImageNet with 32 filters, 5-way 1-shot and 5-shot: MAML 48.7 and 63.1, ANIL 48.1 and 61.0,
attention modulator 51.1 and 64.6, probabilistic 48.9 and 63.17; on mini-Places, 1-shot, 31.2, 32.7,
33.5 and 32.6. Finn et al. (2017), Omniglot 5-way 1-shot: MAML 98.7.

    python recipes/meta_train.py --data_dir=... --output_dir=runs/maml --method=maml
    python recipes/meta_train.py --data_dir=... --data=mini_imagenet --method=modulator ...
    python recipes/meta_train.py ... --test_dirs=mini_places      # class folders of other images
    python recipes/meta_train.py --output_dir=runs/smoke --smoke

The weights that are best on validation tasks are kept, in `best.weights.h5`, and the test classes
are read once, at the end: accuracy after adaptation, and without a head (NIL), each with its 95 %
interval over tasks. A killed run goes on where it was when the same command is given again. With a
modulator, `attention.png` shows its weights over test tasks and `optimal.png` those that gradient
descent finds for the same tasks from all of their images; `agreement` is the mean cosine of the two
(the paper's figure 3).

Expected: docs/results.md. Hardware: two cores, Omniglot about an hour; `mini_imagenet` is a part of
the original, 40 images of each class, and its numbers are not those of the papers.
"""

import csv
import logging
import pathlib
import time

import keras
import numpy as np
from absl import app, flags

from keras_univrep import (
    backbones,
    backend,
    datasets,
    evaluation,
    layers,
    metrics,
    models,
    plotting,
)
from keras_univrep.callbacks import ProgressBar

METHODS = ("maml", "first_order_maml", "anil", "reptile", "modulator", "probabilistic_modulator")
# What the papers report, by data, method and shot.
REPORTED = {
    ("omniglot", "maml", 1): 98.7,
    ("omniglot", "maml", 5): 99.9,
    ("mini_imagenet", "maml", 1): 48.7,
    ("mini_imagenet", "maml", 5): 63.1,
    ("mini_imagenet", "anil", 1): 48.1,
    ("mini_imagenet", "anil", 5): 61.0,
    ("mini_imagenet", "modulator", 1): 51.1,
    ("mini_imagenet", "modulator", 5): 64.6,
    ("mini_imagenet", "probabilistic_modulator", 1): 48.9,
    ("mini_imagenet", "probabilistic_modulator", 5): 63.17,
}
WAY = 5
# Test tasks whose attention weights are drawn.
DRAWN = 64
MONITORED = "val_accuracy"
# Inner rate, inner steps of training and of tests, tasks of a step: Finn et al.; the paper of the
# modulator prints none.
DEFAULTS = {"omniglot": (0.4, 1, 3, 32), "mini_imagenet": (0.01, 5, 10, 4)}
# Steps of training and between validations, tasks of a validation and of the test.
PRESETS = {
    "short": {"train": 400, "epoch": 100, "validation": 40, "test": 300},
    "local": {"train": 2000, "epoch": 100, "validation": 96, "test": 600},
    "long": {"train": 10000, "epoch": 500, "validation": 192, "test": 600},
    "paper": {"train": 60000, "epoch": 500, "validation": 192, "test": 600},
    "smoke": {"train": 4, "epoch": 2, "validation": 2, "test": 4},
}

# Data
DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of omniglot28 and mini_imagenet.")
DATA = flags.DEFINE_enum("data", "omniglot", list(DEFAULTS), "Images of the tasks.")
SIZE = flags.DEFINE_integer("image_size", 84, "Of mini_imagenet, in pixels.")
TESTS = flags.DEFINE_list("test_dirs", [], "Folders of class folders to be tested on as well.")
SHOT = flags.DEFINE_integer("shot", 1, "Support images of each class.")
QUERY = flags.DEFINE_integer("query", 15, "Query images of each class.")
# Model
METHOD = flags.DEFINE_enum("method", "maml", METHODS, "What adapts.")
FILTERS = flags.DEFINE_integer("filters", 64, "Channels of each block of Conv-4.")
UNITS = flags.DEFINE_integer("units", 8, "Of a modulator; 8 keep it below a tenth of Conv-4.")
MOMENTS = flags.DEFINE_enum("query_moments", "batch", ["batch", "support"], "Of normalisation.")
# Training
PRESET = flags.DEFINE_enum("preset", "local", list(PRESETS), "Numbers of steps and tasks.")
TASKS = flags.DEFINE_integer("tasks", None, "Tasks of a step; by default those of the data.")
INNER = flags.DEFINE_float("inner_rate", None, "Inner rate; by default that of the data.")
STEPS = flags.DEFINE_integer("steps", None, "Inner steps; by default those of the data.")
RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; of SGD with reptile, 1 is common.")
MODULATOR_RATE = flags.DEFINE_float("modulator_rate", 1e-3, "Of the modulator's own Adam.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the weights and of all tasks.")
# Output
OPTIMAL = flags.DEFINE_integer(
    "optimal_tasks", 16, "Test tasks whose optimal weights are found; 0 for none."
)
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A minute-long run that shows that all works.")


def load(data, data_dir, size, smoke):
    """Returns (domain, its split) for training, selection and test."""
    names = ("train", "validation", "test")
    if smoke:
        # What ships with the package has the same classes in all splits.
        own = {"omniglot": "omniglot", "mini_imagenet": "eurosat"}[data]
        return dict.fromkeys(names, (datasets.load_domain(own), "train"))
    if data == "omniglot":
        domain = datasets.omniglot_vinyals(data_dir)
        return {name: (domain, name) for name in names}
    found = datasets.meta_local(data_dir, size, ["mini_imagenet"])
    return {name: (getattr(found, name)["mini_imagenet"], name) for name in names}


def load_tests(known, folders):
    """Returns the test split, and all images of each folder at the size of its images."""
    size = known[0].image_shape[0]
    others = [datasets.domain_from_folder(folder, size, 0, 0) for folder in folders]
    return [known, *((domain, "train") for domain in others)]


def make_model(method, image_shape, settings):
    """Returns the meta-learner, compiled, and its backbone."""
    height, width, channels = image_shape
    steps = {"steps": settings["steps"], "test_steps": settings["test_steps"]}
    moments = {"query_moments": settings["query_moments"]}
    modulated = "modulator" in method
    body = backbones.Conv4(
        settings["filters"], (height, width), channels, None if modulated else "flatten"
    )
    shape = (height >> 4, width >> 4, settings["filters"]) if modulated else (body.filters,)
    head = keras.Sequential(
        [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(WAY)], name="head"
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(settings["learning_rate"])
    # On processors XLA's convolutions are several times slower than TensorFlow's own.
    options = {"jit_compile": keras.backend.backend() == "jax"}
    rate = settings["inner_rate"]
    if modulated:
        kinds = {
            "modulator": layers.AttentionModulator,
            "probabilistic_modulator": layers.ProbabilisticAttentionModulator,
        }
        count = models.MultiTaskMetaLearner.modulated_channels(body)
        modulator = kinds[method](count, units=settings["units"], label_size=WAY, name="modulator")
        model = models.MultiTaskMetaLearner(
            body, {"classes": head}, {"classes": modulator}, learning_rate=rate, **steps, **moments
        )
        model.compile(
            optimizer,
            {"classes": loss},
            metrics={"classes": "accuracy"},
            modulator_optimizer=keras.optimizers.Adam(settings["modulator_rate"]),
            **options,
        )
        return model, body
    if method == "anil":
        model = models.ANIL(body, head, learning_rate=rate, **steps, **moments)
    else:
        network = keras.Sequential([keras.Input(image_shape), body, head])
        if method == "reptile":
            model = models.Reptile(network, learning_rate=rate, **steps, **moments)
            optimizer = keras.optimizers.SGD(settings["learning_rate"])
        else:
            first = method == "first_order_maml"
            model = models.MAML(network, learning_rate=rate, first_order=first, **steps, **moments)
    model.compile(optimizer, loss, metrics=["accuracy"], **options)
    return model, body


def sampler(domain, split, settings, stream):
    """Returns a sampler of tasks of one size."""
    return datasets.EpisodeSampler(
        domain.arrays(split)[1], WAY, settings["shot"], settings["query"], seed=settings["seed"],
        stream=stream,
    )  # fmt: skip


def named(batch, method):
    """The batch as the method's model takes it."""
    return {"classes": batch} if "modulator" in method else batch


def train(model, method, parts, counts, settings, folder):
    """Trains the model, resumably, and leaves the best weights in `best.weights.h5`."""
    best = folder / "best.weights.h5"
    if (folder / "trained").exists():
        return best
    own, held_out = (sampler(*parts[split], settings, split) for split in ("train", "validation"))

    def tasks(first_step):
        return datasets.episode_pipeline(
            *parts["train"], own, batch_size=settings["tasks"], training=True,
            first_step=first_step,
        ).map(lambda batch: named(batch, method))  # fmt: skip

    validation = datasets.episode_pipeline(
        *parts["validation"], held_out, counts["validation"], settings["tasks"]
    ).map(lambda batch: named(batch, method))
    history = folder / "training" / "history.csv"
    known = read_history(history)["validation tasks"].values() if best.exists() else ()
    keep = keras.callbacks.ModelCheckpoint(
        best, monitor=MONITORED, mode="max", save_best_only=True, save_weights_only=True,
        initial_value_threshold=max(known, default=None),
    )  # fmt: skip
    bar = ProgressBar(method, counts["epoch"], counts["train"] // counts["epoch"])
    models.resumable_fit(
        model, tasks, counts["train"], history.parent, counts["epoch"], [keep, bar],
        validation_data=validation,
    )  # fmt: skip
    (folder / "trained").touch()
    return best


def read_history(path):
    """Returns accuracies by the epoch after which they were logged."""
    names = {"validation tasks": MONITORED, "training tasks": MONITORED.removeprefix("val_")}
    columns = {title: {} for title in names}
    if path.exists():
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                for title, name in names.items():
                    columns[title][int(row["epoch"]) + 1] = float(row[name])
    return columns


def test(model, body, method, domain, split, count, optimal, settings):
    """Returns accuracies after adaptation and without a head, predicted and optimal weights."""
    draw = sampler(domain, split, settings, "test")
    batches = datasets.episode_batches(domain, split, draw, count, min(count, settings["tasks"]))
    adapted, without_head, weights, best = [], [], [], []
    for batch in batches:
        scores = model.predict_on_batch(named(batch, method))
        scores = scores["classes"] if "modulator" in method else scores
        right = np.asarray(scores).argmax(-1) == batch["query_labels"]
        adapted.extend(right.mean(-1))
        for support, labels, queries, wanted in zip(*batch.values(), strict=True):
            # By the moments of each set, as in training; the moving ones were never moved.
            found = [
                keras.ops.convert_to_numpy(body(images, training=True)).reshape(len(images), -1)
                for images in (support, queries)
            ]
            without_head.append(float(metrics.nil_accuracy(found[0], labels, found[1], wanted)))
        if "modulator" in method and sum(map(len, weights)) < max(DRAWN, optimal):
            found = model.attention_weights(named(batch, method))["classes"]
            weights.append(keras.ops.convert_to_numpy(keras.ops.stop_gradient(found)))
            if sum(map(len, best)) < optimal:
                found = models.optimal_channel_weights(model, named(batch, method))["classes"]
                best.append(keras.ops.convert_to_numpy(keras.ops.stop_gradient(found)))
    weights, best = (np.concatenate(found) if found else None for found in (weights, best))
    return adapted, without_head, weights, best


def agreement(weights, best):
    """Returns the mean cosine of predicted and optimal weights of the same tasks."""
    weights = weights[: len(best)]
    norms = np.linalg.norm(weights, axis=1) * np.linalg.norm(best, axis=1)
    return float(np.mean((weights * best).sum(1) / np.maximum(norms, 1e-12)))


def draw_pictures(folder, history, weights, best, epoch, title, blocks=4):
    """Draws the accuracies of training, and the weights of channels over test tasks."""
    curves = {
        name: {number * epoch: [100 * value] for number, value in values.items()}
        for name, values in history.items()
    }
    plotting.plot_curves(folder / "curve.png", curves, "steps", "accuracy, per cent", title)
    for name, values, subject in (
        ("attention", weights, "Attention weights of test tasks"),
        ("optimal", best, "Optimal weights of test tasks"),
    ):
        if values is not None:
            plotting.plot_attention(
                folder / f"{name}.png", np.split(values, blocks, axis=1), subject
            )


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    backend.keep_memory()
    start, smoke, method = time.time(), SMOKE.value, METHOD.value
    if TESTS.value and DATA.value == "omniglot":
        raise app.UsageError("--test_dirs hold colour images: pass --data=mini_imagenet.")
    counts = PRESETS["smoke" if smoke else PRESET.value]
    rate, steps, test_steps, tasks = DEFAULTS[DATA.value]
    if smoke:
        steps, test_steps, tasks = 1, 1, 2
    settings = {
        "data": DATA.value, "method": method, "shot": SHOT.value,
        "query": 2 if smoke else QUERY.value, "filters": 4 if smoke else FILTERS.value,
        "query_moments": MOMENTS.value, "steps": STEPS.value or steps, "test_steps": test_steps,
        "tasks": TASKS.value or tasks, "inner_rate": INNER.value or rate,
        "learning_rate": RATE.value, "modulator_rate": MODULATOR_RATE.value, "units": UNITS.value,
        "image_size": SIZE.value, "seed": SEED.value, "counts": counts,
    }  # fmt: skip
    folder = pathlib.Path(OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    evaluation.keep_settings(folder, settings)
    parts = load(DATA.value, DATA_DIR.value, SIZE.value, smoke)
    keras.utils.set_random_seed(SEED.value)
    domain, _ = parts["test"]
    model, body = make_model(method, domain.image_shape, settings)
    model.load_weights(train(model, method, parts, counts, settings, folder))
    rows, pictures, history = [], [], read_history(folder / "training" / "history.csv")
    for tested, split in load_tests(parts["test"], TESTS.value):
        adapted, without_head, weights, best = test(
            model, body, method, tested, split, counts["test"], OPTIMAL.value, settings
        )
        row = {"method": method, "images": tested.name, "test": f"{WAY}-way {SHOT.value}-shot"}
        for name, values in (("accuracy", adapted), ("nil", without_head)):
            mean, half = metrics.confidence_interval([100 * value for value in values])
            row |= {name: round(mean, 2), f"{name}_interval": round(half, 2)}
        row |= {"tasks": counts["test"], "parameters": model.count_params()}
        if best is not None:
            row["agreement"] = round(agreement(weights, best), 3)
        rows.append(row)
        pictures.append((weights, best))
    reported = REPORTED.get((DATA.value, method, SHOT.value))
    if reported is not None and not smoke:
        rows[0]["reported"] = reported
    title = f"{method} on {domain.name}, {WAY}-way {SHOT.value}-shot"
    draw_pictures(folder, history, *pictures[0], counts["epoch"], title)
    evaluation.show_table(rows, "Accuracy on classes never seen (per cent)", 120)
    evaluation.write_results(
        folder / "results.json", rows, SEED.value, time.time() - start,
        validation=max(history["validation tasks"].values()),
        **{key: value for key, value in settings.items() if key not in ("seed", "method")},
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
