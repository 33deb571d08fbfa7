"""Learns one backbone from many sources of several tasks: X-Learner, its variants, its rivals.

Paper: He et al., "X-Learner" (he2022), tables 1 and 4 to 7: a network for each source, hard
sharing, the expanded backbone without and with reconciliation layers, what it is squeezed into,
and the variants of section 3.4. On `datasets.sources_local`: small parts of image sets, for
classification, detection, segmentation and depth, where its numbers do not compare with the
paper's.

    python recipes/x_learner.py --data_dir=... --output_dir=runs/x_learner
    python recipes/x_learner.py --data_dir=... --output_dir=runs/x_learner --method=X-Learner_t
    python recipes/x_learner.py --output_dir=runs/smoke --smoke

| method | what it is |
|---|---|
| single | a network for each source, the teachers of ++ and MuST |
| hard sharing | one backbone for all tasks |
| no reconciliation | a sub-backbone for each task, their maps side by side |
| expansion | the same, joined by reconciliation layers (algorithm 1) |
| X-Learner | expansion, squeezed into one backbone (eq. 3) |
| expansion++, X-Learner++ | the same with hints of the single networks |
| X-Learner_r | sub-backbones squeezed to half their size first, then expanded |
| X-Learner_t | reconciliation from deep to shallow |
| X-Learner_p | expansion, pruned to the size of one sub-backbone and trained on |
| SimCLR | one backbone without labels |
| MuST | hard sharing, each source labelled by the teachers of all others |

Each leaves `backbone.keras`, from images to its maps, which `recipes/downstream.py` tests. What is
there is not trained again, and a killed run goes on where it was when the same command is given
again. Methods are compared on the validation split; the test split is read once for each network.

Expected: docs/results.md. Hardware: two cores, half an hour a seed and method.
"""

import logging
import pathlib
import time

import keras
import numpy as np
from absl import app, flags
from x_learner_methods import Run

from keras_univrep import datasets, evaluation, plotting

METHODS = (
    "hard sharing", "no reconciliation", "expansion", "X-Learner", "expansion++", "X-Learner++",
    "X-Learner_r", "X-Learner_t", "X-Learner_p", "SimCLR", "MuST",
)  # fmt: skip
TABLE = METHODS[:6]
# Steps of a network, of a squeeze, before sub-backbones are joined, and of an epoch; images of each
# source in a batch; first rate of Adam; side of the images.
PRESETS = {
    "local": {"steps": 600, "squeeze": 600, "tau": 250, "epoch": 50, "batch": 4, "rate": 1e-3,
              "size": 64},
    "smoke": {"steps": 4, "squeeze": 2, "tau": 2, "epoch": 2, "batch": 2, "rate": 1e-3,
              "size": 32},
}  # fmt: skip

# Data
DATA = flags.DEFINE_string("data_dir", None, "Folder of the image sets.")
CACHE = flags.DEFINE_string("cache_dir", None, "Folder of resized images; Keras's by default.")
HELD_OUT = flags.DEFINE_list("held_out", [], "Sources to leave for downstream tests.")
MIX = flags.DEFINE_float("mix", 0.0, "Power of a source's size that its share goes with.")
# Model
DEPTH = flags.DEFINE_integer("depth", 50, "Layers of the ResNet: 50, 101 or 152 (R152).")
WIDTH = flags.DEFINE_float("width", 0.25, "Factor of its channel numbers.")
METHOD = flags.DEFINE_multi_enum("method", list(TABLE), ["single", *METHODS], "Rows of the table.")
FEED_FORWARD = flags.DEFINE_boolean("feed_forward", False, "Whether joined maps go on upwards.")
GAMMA = flags.DEFINE_enum(
    "first_gamma", "ones", ["ones", "zeros"],
    "Scale of what a sub-backbone is lent, when it is first lent; zeros change nothing at first.",
)  # fmt: skip
# Training
PRESET = flags.DEFINE_enum("preset", "local", list(PRESETS), "Length, rate and size of images.")
STEPS = flags.DEFINE_integer("steps", None, "Steps of each network; by default the preset's.")
TAU = flags.DEFINE_integer("tau", None, "Steps before sub-backbones are joined.")
RATE = flags.DEFINE_float("learning_rate", None, "First rate of Adam; by default the preset's.")
SEED = flags.DEFINE_multi_integer("seed", [0], "Seeds of everything; may repeat.")
# Output
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A small run that shows that all works.")


def load(data_dir, cache_dir, size, held_out, smoke):
    """Returns the sources of each task."""
    if smoke and data_dir is None:
        return datasets.random_sources(size)
    found = datasets.sources_local(data_dir, size, cache_dir=cache_dir)
    kept = {
        task: {name: source for name, source in row.items() if name not in held_out}
        for task, row in found.items()
    }
    return {task: row for task, row in kept.items() if row}


def row_of(method, measured, sources):
    """Returns a line of the table: the mean over the sources of each task."""
    line = {"method": method}
    for task, row in sources.items():
        column, _ = evaluation.SOURCE_METRICS[next(iter(row.values())).kind]
        values = list(measured[task].values())
        line[f"{task}, {column}"] = round(float(np.mean(values)), 3)
    return line


def means(tables):
    """Returns the mean of each number over seeds, and each seed's own."""
    rows = []
    for lines in zip(*tables, strict=True):
        row = {"method": lines[0]["method"]}
        for name in lines[0]:
            if name != "method":
                values = [line[name] for line in lines]
                row[name] = round(float(np.mean(values)), 2)
                if len(values) > 1:
                    row[name] = f"{row[name]} ({', '.join(f'{v:.4g}' for v in values)})"
        rows.append(row)
    return rows


def draw(networks, sources, folder):
    """Draws what each method finds in some test images of each source of boxes."""
    for name, source in sources.get("detection", {}).items():
        batches = datasets.SourceSequence({"detection": {name: source}}, "test", 8)
        images, truths = batches[0]
        images, truths = images["detection"][name], truths["detection"][name]
        for method, model in networks.items():
            outputs = model.for_source("detection", name).predict_on_batch(images)
            head = model.head("detection", name)
            plotting.plot_boxes(
                folder / f"{name}, {method}.png".replace(" ", "_"),
                source.arrays("test")[0][: len(images)],
                keras.tree.map_structure(
                    keras.ops.convert_to_numpy, head.predict_boxes(outputs, source.image_shape[:2])
                ),
                source.class_names, truths,
            )  # fmt: skip


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start, smoke = time.time(), SMOKE.value
    settings = dict(PRESETS["smoke" if smoke else PRESET.value])
    settings |= {
        "steps": STEPS.value or settings["steps"],
        "tau": settings["tau"] if TAU.value is None else TAU.value,
        "rate": RATE.value or settings["rate"],
        "depth": DEPTH.value,
        "width": 0.0625 if smoke else WIDTH.value,
        "mix": MIX.value or "equal",
        "held_out": HELD_OUT.value,
        "feed_forward": FEED_FORWARD.value,
        "first_gamma": GAMMA.value,
    }
    folder = pathlib.Path(OUTPUT.value)
    evaluation.keep_settings(folder, settings)
    sources = load(DATA.value, CACHE.value, settings["size"], HELD_OUT.value, smoke)
    methods = list(dict.fromkeys(METHOD.value))
    tables = {"validation": [], "test": []}
    for seed in SEED.value:
        run = Run(sources, settings, folder / f"seed{seed}", seed)
        measured, networks = {}, {}
        for method in methods:
            if method == "single":
                measured[method] = run.singles()
                continue
            model, found = run(method)
            if method != "SimCLR":
                measured[method], networks[method] = found, model
        for split, rows in tables.items():
            rows.append([row_of(name, found[split], sources) for name, found in measured.items()])
        draw(networks, sources, folder / f"seed{seed}")
    averaged = {split: means(rows) for split, rows in tables.items()}
    for split, rows in averaged.items():
        if rows:
            evaluation.show_table(rows, split, 200)
    evaluation.write_results(
        folder / "results.json", averaged["test"], SEED.value[0], time.time() - start,
        validation=averaged["validation"], seeds=SEED.value, **settings,
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
