"""Trains a prototypical network on Omniglot and tests it on characters it has never seen.

Paper: Snell, Swersky, Zemel, "Prototypical networks for few-shot learning" (2017), table 1:
98.8 % at 5-way 1-shot and 96.0 % at 20-way 1-shot, in 60-way training episodes of Conv4 with the
shot of the test, with the split of `omniglot_vinyals`, turned characters being classes of their
own.

    python recipes/train_prototypical.py --data_dir=... --output_dir=runs/prototypical
    python recipes/train_prototypical.py --output_dir=runs/smoke --smoke

The weights that are best at 20-way 1-shot on the validation characters are kept, in
`best.weights.h5`, and the test characters are read once, at the end. A killed run goes on where it
was when the same command is given again. The paper goes on for as long as validation improves and
then trains on the validation characters as well: `--train_on_validation`, which keeps the weights
of the last episode. `--padding=2` shifts training images at random, which the paper does not.

Expected: docs/results.md. Hardware: one core, about half an hour; `--preset=long` an hour and a
half.
"""

import csv
import dataclasses
import logging
import pathlib
import time

import keras
import numpy as np
from absl import app, flags

from keras_univrep import backbones, backend, datasets, evaluation, few_shot, models, plotting
from keras_univrep.callbacks import ProgressBar

# Ways, of one shot and 15 queries of each class as in the paper's code, and what it reports.
TESTS = {"5-way 1-shot": (5, 98.8), "20-way 1-shot": (20, 96.0)}
SELECTION = 20
QUERIES = 15
# Training episodes, episodes between two validations, episodes until the rate is halved, episodes
# of a validation and of a test.
PRESETS = {
    "local": {"train": 3600, "epoch": 200, "halve": 600, "validation": 100, "test": 1000},
    "long": {"train": 12000, "epoch": 400, "halve": 2000, "validation": 100, "test": 1000},
    "longer": {"train": 24000, "epoch": 400, "halve": 4000, "validation": 100, "test": 1000},
    "paper": {"train": 40000, "epoch": 500, "halve": 2000, "validation": 100, "test": 1000},
    "smoke": {"train": 4, "epoch": 2, "halve": 2, "validation": 2, "test": 10},
}

# Data
DATA = flags.DEFINE_string("data_dir", None, "Folder of omniglot28/omniglot28.npz.")
BOTH = flags.DEFINE_boolean("train_on_validation", False, "Train on both; select nothing.")
ROTATIONS = flags.DEFINE_boolean("rotations", True, "Whether turned characters are classes.")
# Model
FILTERS = flags.DEFINE_integer("filters", 64, "Channels of each block of Conv4.")
DISTANCE = flags.DEFINE_enum("distance", "euclidean", ["euclidean", "cosine"], "To prototypes.")
# Training
PRESET = flags.DEFINE_enum("preset", "local", list(PRESETS), "Numbers of episodes.")
WAY = flags.DEFINE_integer("way", 60, "Classes of a training episode.")
SHOT = flags.DEFINE_integer("shot", 1, "Support images of each class in training.")
QUERY = flags.DEFINE_integer("query", 5, "Query images of each class in training.")
RATE = flags.DEFINE_float("learning_rate", 1e-3, "First rate of Adam.")
PADDING = flags.DEFINE_integer("padding", 0, "Largest random shift of training images, pixels.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of the weights and of all episodes.")
# Output
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A minute-long run that shows that all works.")


def load(data_dir, rotations, both, smoke):
    """Returns the domain and its splits for training, selection (or None) and test."""
    names = ("train", "validation", "test")
    if smoke:
        # What ships with the package has the same characters in all splits: this shows that all
        # works.
        domain, splits = datasets.load_domain("omniglot"), dict.fromkeys(names, "train")
    else:
        domain, splits = datasets.omniglot_vinyals(data_dir, rotations), dict(zip(names, names))
    if both:
        parts = [domain.arrays(split) for split in names[:2]]
        joined = tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        test = domain.arrays(splits["test"])
        domain = dataclasses.replace(domain, splits={"train+validation": joined, "test": test})
        splits = {"train": "train+validation", "validation": None, "test": "test"}
    return domain, splits


def sampler(domain, split, way, shot, query, seed, stream):
    """Returns a sampler of episodes of one size."""
    labels = domain.arrays(split)[1]
    return datasets.EpisodeSampler(
        labels, way=way, shot=shot, query=query, seed=seed, stream=stream
    )


def halving(rate, episodes):
    """Returns a rate that is halved every so many episodes."""
    return keras.optimizers.schedules.ExponentialDecay(rate, episodes, 0.5, staircase=True)


def train(model, domain, splits, counts, sizes, rate, padding, seed, folder):
    """Trains the model, resumably, and leaves the best, or last, weights in `best.weights.h5`."""
    best = folder / "best.weights.h5"
    if (folder / "trained").exists():
        return best
    model.compile(
        keras.optimizers.Adam(halving(rate, counts["halve"]), epsilon=1e-8),
        # On processors XLA's convolutions are several times slower than TensorFlow's own.
        jit_compile=keras.backend.backend() == "jax",
    )
    own = sampler(domain, splits["train"], *sizes["train"], seed, "train")

    def episodes(first_step):
        return datasets.episode_pipeline(
            domain, splits["train"], own, training=True, first_step=first_step, padding=padding
        )

    history = folder / "training" / "history.csv"
    callbacks = [
        ProgressBar("prototypical network", counts["epoch"], counts["train"] // counts["epoch"])
    ]
    validation = None
    if splits["validation"] is not None:
        held_out = sampler(domain, splits["validation"], *sizes["validation"], seed, "validation")
        validation = datasets.episode_pipeline(
            domain, splits["validation"], held_out, counts["validation"]
        )
        known = read_history(history)["val_accuracy"].values() if best.exists() else ()
        callbacks.append(
            keras.callbacks.ModelCheckpoint(
                best, monitor="val_accuracy", mode="max", save_best_only=True,
                save_weights_only=True, initial_value_threshold=max(known, default=None),
            )
        )  # fmt: skip
    models.resumable_fit(
        model, episodes, counts["train"], history.parent, counts["epoch"], callbacks,
        validation_data=validation,
    )  # fmt: skip
    if validation is None:
        model.save_weights(best)
    (folder / "trained").touch()
    return best


def read_history(path):
    """Returns each logged number by the epoch after which it was logged."""
    columns = {"val_accuracy": {}, "accuracy": {}}
    if path.exists():
        with open(path, newline="") as file:
            for row in csv.DictReader(file):
                for name, values in columns.items():
                    # Keras writes "NA" where nothing was validated.
                    if row[name] != "NA":
                        values[int(row["epoch"]) + 1] = float(row[name])
    return columns


def features_of(model, domain, split):
    """Returns features of all images of a split, once for all test episodes, and their labels."""
    images, labels = domain.arrays(split)
    features = [
        keras.ops.convert_to_numpy(model.backbone.predict_on_batch(domain.normalize(part)))
        for part in np.array_split(images, max(1, len(images) // 1024))
    ]
    return np.concatenate(features).astype("float32"), labels


def test(model, domain, split, distance, ways, query, count, seed):
    """Returns the rows of the table: accuracy and half its 95 % interval, in per cent."""
    features, labels = features_of(model, domain, split)
    rows = []
    for name, (way, reported) in ways.items():
        draw = datasets.EpisodeSampler(
            labels, way=way, shot=1, query=query, seed=seed, stream="test"
        )
        items = datasets.episode_batches((features, labels), None, draw, count, min(count, 100))
        accuracy, half_width = evaluation.evaluate_episodes(
            # The prototypes of the model: with features of an evaluation it is this estimator.
            few_shot.NearestCentroid(distance),
            (tuple(item.values()) for item in items),
        )
        rows.append(
            {
                "method": f"prototypical network, {distance}",
                "test": name,
                "accuracy": round(accuracy, 2),
                "interval": round(half_width, 2),
                "episodes": count,
                **({} if reported is None else {"reported": reported}),
            }
        )
    return rows


def draw(history, folder, epoch):
    """Draws the accuracy of training and validation episodes."""
    names = {"accuracy": "training episodes", "val_accuracy": "validation, 20-way 1-shot"}
    curves = {
        names[name]: {number * epoch: [100 * value] for number, value in values.items()}
        for name, values in history.items()
        if values
    }
    plotting.plot_curves(
        folder / "curve.png", curves, "training episodes", "accuracy, per cent",
        "Prototypical network on Omniglot",
    )  # fmt: skip


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    backend.keep_memory()
    start = time.time()
    smoke = SMOKE.value
    counts = PRESETS["smoke" if smoke else PRESET.value]
    domain, splits = load(DATA.value, ROTATIONS.value, BOTH.value, smoke)
    sizes = {
        "train": (5, 2, 2) if smoke else (WAY.value, SHOT.value, QUERY.value),
        "validation": (5, 1, 2) if smoke else (SELECTION, 1, 5),
    }
    filters = 4 if smoke else FILTERS.value
    folder = pathlib.Path(OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "domain": domain.name, "rotations": ROTATIONS.value, "trained_on": splits["train"],
        "filters": filters,
        "distance": DISTANCE.value, "learning_rate": RATE.value, "padding": PADDING.value,
        "seed": SEED.value,
        "sizes": {name: list(size) for name, size in sizes.items()}, "episodes": counts,
    }  # fmt: skip
    evaluation.keep_settings(folder, settings)
    keras.utils.set_random_seed(SEED.value)
    height, width, channels = domain.image_shape
    network = backbones.Conv4(filters, (height, width), channels)
    model = models.PrototypicalNetwork(
        network, max(sizes["train"][0], sizes["validation"][0]), DISTANCE.value
    )
    best = train(
        model, domain, splits, counts, sizes, RATE.value, PADDING.value, SEED.value, folder
    )
    model.load_weights(best)
    ways = {"5-way 1-shot": (5, None)} if smoke else TESTS
    rows = test(
        model, domain, splits["test"], DISTANCE.value, ways, 2 if smoke else QUERIES,
        counts["test"], SEED.value,
    )  # fmt: skip
    history = read_history(folder / "training" / "history.csv")
    draw(history, folder, counts["epoch"])
    evaluation.show_table(rows, "Accuracy on characters never seen (per cent)", 120)
    evaluation.write_results(
        folder / "results.json", rows, SEED.value, time.time() - start,
        validation=max(history["val_accuracy"].values(), default=None),
        **{key: value for key, value in settings.items() if key != "seed"},
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
