"""Tests what backbones are worth elsewhere: linear probes, and fine-tuning on dense tasks.

Paper: He et al., "X-Learner" (he2022), section 4.2 and tables 2, 3 and 5. A linear classifier on
frozen features, by L-BFGS with the penalty chosen on the validation split, on data sets that the
backbone has not seen; and detectors, segmenters and depth estimators that start from it.

    python recipes/downstream.py --data_dir=... --output_dir=runs/down --run_dir=runs/x_learner
    python recipes/downstream.py --data_dir=... --output_dir=runs/down --run_dir=runs/x_learner \\
        --finetune=detection/bccd --finetune=segmentation/camvid
    python recipes/downstream.py --output_dir=runs/smoke_down --run_dir=runs/smoke --smoke

`--run_dir` is the folder of a run of `x_learner.py`; sources to fine-tune on should be among its
`--held_out`. "random" is a backbone of random weights. Features are the mean of the last map, of
images normalised as in training. What is measured is not measured again.

Expected: docs/results.md. Hardware: two cores, some minutes a backbone.
"""

import json
import logging
import pathlib
import time

import keras
import numpy as np
import rich.progress
from absl import app, flags
from x_learner_methods import LEVELS, all_batches, fit, make_model, make_trunk

from keras_univrep import datasets, evaluation, plotting

# Data
DATA = flags.DEFINE_string("data_dir", None, "Folder of the image sets.")
CACHE = flags.DEFINE_string("cache_dir", None, "Folder of resized images; Keras's by default.")
SETS = flags.DEFINE_list("sets", None, "Sets of the linear probes; all by default.")
RUN = flags.DEFINE_string("run_dir", None, "Folder of a run of x_learner.py.", required=True)
METHOD = flags.DEFINE_multi_string("method", None, "Its methods; all that are there by default.")
# Tests
STRENGTHS = flags.DEFINE_integer("strengths", 9, "Penalties to choose from, 1e-1 to 1e-5.")
ITERATIONS = flags.DEFINE_integer("iterations", 1000, "Steps of L-BFGS at most.")
FINETUNE = flags.DEFINE_multi_string("finetune", [], "TASK/NAME of sources to fine-tune on.")
STEPS = flags.DEFINE_integer("steps", 300, "Steps of a fine-tuning.")
RATE = flags.DEFINE_float("learning_rate", 1e-3, "First rate of its Adam.")
SEED = flags.DEFINE_multi_integer("seed", None, "Seeds of the run; all that are there by default.")
# Output
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A small run that shows that all works.")


def find_backbones(folder, methods, seeds):
    """Returns {method: {seed: path}}, with None for the random ones."""
    names = [f"seed{seed}" for seed in seeds] if seeds else ["seed*"]
    paths = [path for name in names for path in sorted(folder.glob(f"{name}/*/backbone.keras"))]
    found = {}
    for path in paths:
        method, seed = path.parent.name.replace("_", " "), int(path.parts[-3].removeprefix("seed"))
        found.setdefault("random", {})[seed] = None
        if not methods or method in [name.replace("_", " ") for name in methods]:
            found.setdefault(method, {})[seed] = path
    if not paths:
        raise app.UsageError(
            f"--run_dir must hold seed*/METHOD/backbone.keras. Received: {folder}, without."
        )
    return found


def load_backbone(path, settings, seed):
    """Returns the backbone of a file, or one of random weights."""
    if path is None:
        keras.utils.set_random_seed(seed)
        return make_trunk(settings)
    return keras.models.load_model(path, compile=False)


def probed_domains(data_dir, cache_dir, size, names, smoke):
    """Returns the classification domains of the linear probes."""
    if smoke and data_dir is None:
        domain = datasets.load_domain("signdigits")
        for split in ("train", "validation", "test"):
            domain = datasets.subset(domain, split, per_class=4)
        return {"signdigits": domain}
    return datasets.downstream_local(data_dir, size, names, cache_dir)


def features_of(backbone, domain):
    """Returns features and labels of the three splits."""
    source, found = datasets.source_from_domain(domain), {}
    for split in ("train", "validation", "test"):
        batches = datasets.SourceSequence({"probe": {"images": source}}, split, 64)
        features, labels = [], []
        for index in range(len(batches)):
            images, targets = batches[index]
            maps = backbone.predict_on_batch(images["probe"]["images"])
            features.append(np.asarray(maps[LEVELS[-1]]).mean(axis=(1, 2)))
            labels.append(np.asarray(targets["probe"]["images"]))
        found[split] = np.concatenate(features), np.concatenate(labels)
    return found


def probe(backbone, domains, settings, path):
    """Returns the accuracy of a linear classifier on each domain; measures each once."""
    known = json.loads(path.read_text()) if path.exists() else {}
    strengths = np.logspace(-1, -5, settings["strengths"])
    for name, domain in domains.items():
        if name not in known:
            data = {name: features_of(backbone, domain)}
            known[name] = evaluation.linear_probe(data, strengths, settings["iterations"])[
                "accuracy"
            ][name]
            keep(path, known)
    return {name: known[name] for name in domains}


def tune(path_of_backbone, task, name, source, settings, folder, seed):
    """Returns what a network that started from a backbone is worth on one source's test split."""
    path = folder / "measured.json"
    if path.exists():
        return json.loads(path.read_text())
    backbone = load_backbone(path_of_backbone, settings, seed)
    keras.utils.set_random_seed(seed)
    sources = {task: {name: source}}
    model = make_model(sources, settings, backbone, reconciliation=None)
    title = f"{name}, {folder.parent.name}, seed {seed}"
    fit(
        model, sources, all_batches(sources, settings, seed), settings["steps"], settings, folder,
        title,
    )  # fmt: skip
    value = evaluation.source_metrics(model, sources, "test")[task][name]
    keep(path, value)
    return value


def keep(path, value):
    """Writes JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value))
    partial.replace(path)


def wanted_sources(data_dir, cache_dir, size, wanted, smoke):
    """Returns the sources that `--finetune` names."""
    if not wanted:
        return {}
    found = (
        datasets.random_sources(size)
        if smoke and data_dir is None
        else datasets.sources_local(data_dir, size, cache_dir=cache_dir)
    )
    known = [f"{task}/{name}" for task, row in found.items() for name in row]
    if unknown := set(wanted) - set(known):
        raise app.UsageError(f"--finetune must be one of {known}. Received: {sorted(unknown)}.")
    return {key: found[key.split("/")[0]][key.split("/")[1]] for key in wanted}


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start, smoke, run = time.time(), SMOKE.value, pathlib.Path(RUN.value)
    upstream = json.loads((run / "settings.json").read_text())
    settings = {
        **{key: upstream[key] for key in ("size", "width", "depth", "batch")},
        "strengths": 2 if smoke else STRENGTHS.value,
        "iterations": 20 if smoke else ITERATIONS.value,
        "steps": 2 if smoke else STEPS.value, "epoch": 1 if smoke else 50, "rate": RATE.value,
        "mix": "equal",
    }  # fmt: skip
    folder = pathlib.Path(OUTPUT.value)
    evaluation.keep_settings(folder, settings)
    found = find_backbones(run, METHOD.value, SEED.value)
    domains = probed_domains(DATA.value, CACHE.value, settings["size"], SETS.value, smoke)
    sources = wanted_sources(DATA.value, CACHE.value, settings["size"], FINETUNE.value, smoke)
    rows, bars = [], {}
    for method, paths in found.items():
        values = []
        for seed, path in rich.progress.track(list(paths.items()), f"{method:<24}"):
            place = folder / f"seed{seed}" / method.replace(" ", "_")
            backbone = load_backbone(path, settings, seed)
            line = probe(backbone, domains, settings, place / "probe.json")
            line["average"] = float(np.mean(list(line.values())))
            for key, source in sources.items():
                task, name = key.split("/")
                column = f"{key}, {evaluation.SOURCE_METRICS[source.kind][0]}"
                line[column] = tune(path, task, name, source, settings, place / name, seed)
            values.append(line)
        means = {column: np.mean([line[column] for line in values]) for column in values[0]}
        ranges = {column: np.ptp([line[column] for line in values]) for column in values[0]}
        rows.append(
            {
                "method": method,
                **{column: round(float(mean), 2) for column, mean in means.items()},
                "average of each seed": ", ".join(f"{line['average']:.2f}" for line in values),
            }
        )
        bars[method] = {
            column: (float(means[column]), float(ranges[column] / 2))
            for column in (*domains, "average")
        }
    evaluation.show_table(rows, "Linear probes (accuracy) and fine-tuning, test", 220)
    plotting.plot_intervals(
        folder / "probes.png", bars, "accuracy (per cent)", "Linear probes, range over seeds"
    )
    evaluation.write_results(folder / "results.json", rows, 0, time.time() - start, **settings)


if __name__ == "__main__":
    app.run(main)
