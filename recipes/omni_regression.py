"""Regresses sine waves from a few points with Omni-Training, and with what it is made of.

Paper: Shu et al., "Omni-Training for data-efficient deep learning" (2021), section 6.2 and figures
5 and 6, which print no numbers: mean squared error on 100 new waves after 1 to 10 gradient steps on
K = 5, 10 and 20 points. The paper's protocol: 30,000 training waves of 50 points, two layers of 64
units with tanh, inner rate 0.02, rate 0.01 falling linearly to zero, lambda 3, rho 0.99.

    python recipes/omni_regression.py --output_dir=runs/omni_regression
    python recipes/omni_regression.py --output_dir=runs/smoke --smoke

Methods: "baseline" (pre-training alone), "maml" (meta-training alone), "joint" (both losses on one
flow), "ensemble" (the mean of baseline and maml, trained apart) and "omni", whose flows and their
means are rows of their own; of these the row "omni" is the one that is best after one step on 100
waves kept for the choice. All are adapted by the same gradient steps. A model is trained for each
K. A killed run goes on where it was when the same command is given again.

The paper prints neither the number of steps, nor the sizes of batches, nor how branches start;
those of --steps, --tasks, --batch_size and --branch_initializer are chosen here, and the optimizer
is Adam. A mini-batch has as many points as an episode's waves.

Expected: docs/results.md. Hardware: one core, JAX; three methods and three seeds take an hour.
"""

import logging
import pathlib
import time

import keras
import numpy as np
from absl import app, flags

from keras_univrep import backbones, datasets, evaluation, metrics, models, plotting
from keras_univrep.callbacks import ProgressBar

# Losses and terms of the joint loss of each trained model, and the flows that predict.
TRAINED = {
    "baseline": (["joint"], ["pre"]),
    "maml": (["joint"], ["meta"]),
    "joint": (["joint"], ["pre", "meta"]),
    "omni": (["joint", "pre", "meta"], ["pre", "meta"]),
}
METHODS = (*TRAINED, "ensemble")
REPORTED = (1, 2, 5, 10)
TEST_WAVES = 100
# Added to the seed of the waves by which a flow is chosen.
CHOICE = 1000

# Data
WAVES = flags.DEFINE_integer("waves", 30_000, "Waves of the training set.")
SHOTS = flags.DEFINE_list("shots", ["5", "10", "20"], "K: points to adapt to.")
# Model
UNITS = flags.DEFINE_list("units", ["64", "64"], "Units of each layer.")
BRANCH = flags.DEFINE_string("branch_initializer", "glorot_uniform", "Start of the branches.")
# Training
NAMES = flags.DEFINE_list("methods", list(METHODS), f"Some of {list(METHODS)}.")
STEPS = flags.DEFINE_integer("steps", 10_000, "Training steps of a model.")
TASKS = flags.DEFINE_integer("tasks", 25, "Waves of an episode batch.")
BATCH = flags.DEFINE_integer("batch_size", 1250, "Points of a mini-batch of pre-training.")
RATE = flags.DEFINE_float("learning_rate", 0.01, "First rate of Adam, which falls to zero.")
INNER = flags.DEFINE_float("inner_rate", 0.02, "Rate of the gradient steps on a support set.")
WEIGHT = flags.DEFINE_float("distillation_weight", 3.0, "lambda.")
DECAY = flags.DEFINE_float("decay", 0.99, "rho.")
SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of weights and waves.")
# Output
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A minute-long run that shows that all works.")


def make_model(method, settings):
    """Returns an untrained model of a method."""
    network = backbones.OmniNet(
        backbones.MLP(1, settings["units"]), branch_initializer=settings["branch_initializer"]
    )
    losses, terms = TRAINED[method]
    model = models.OmniTraining(
        network, keras.layers.Dense(1, name="wave"), "maml",
        {"steps": 1, "learning_rate": settings["inner_rate"]},
        losses=losses, joint_terms=terms,
        distillation_weight=settings["distillation_weight"], decay=settings["decay"],
    )  # fmt: skip
    rate = keras.optimizers.schedules.PolynomialDecay(
        settings["learning_rate"], settings["steps"], 0.0
    )
    model.compile(keras.optimizers.Adam(rate, epsilon=1e-8), "mse")
    return model


def items(shot, settings, seed, first):
    """Yields mini-batches of points with batches of waves, from a step on."""
    waves = datasets.sinusoid("shu2021", "train", shot, waves=settings["waves"], seed=seed)
    x, y = (values.reshape(-1, 1) for values in waves.all_points())
    step = first
    while True:
        chosen = np.random.default_rng((seed, 2, step)).integers(0, len(x), settings["batch_size"])
        batch = (x[chosen], y[chosen])
        yield ({"batch": batch, "episode": waves.batch(step, settings["tasks"])},)
        step += 1


def trained(method, shot, seed, settings, folder):
    """Returns the model of a method, trained, resumably."""
    keras.utils.set_random_seed(seed)
    model = make_model(method, settings)
    name = f"{method}_{shot}_shot_seed{seed}"
    weights = folder / f"{name}.weights.h5"
    if weights.exists():
        model.load_weights(weights)
        return model
    epoch = settings["steps"] // settings["epochs"]
    models.resumable_fit(
        model, lambda first: items(shot, settings, seed, first), settings["steps"], folder / name,
        epoch, [ProgressBar(name, epoch, settings["epochs"])],
    )  # fmt: skip
    model.save_weights(weights)
    return model


def predictions(method, model, tasks, settings):
    """Returns predictions by the name of the row."""
    flows = ("joint", "pre", "meta") if method == "omni" else ("joint",)
    found = {
        flow: models.adaptation_curve(
            model.learner(flow), tasks["support"], tasks["query"][0], max(REPORTED),
            settings["inner_rate"],
        )
        for flow in flows
    }  # fmt: skip
    if method != "omni":
        return {method: found["joint"]}
    rows = {f"omni, {flow} flow": values for flow, values in found.items()}
    rows["omni, joint and meta"] = (found["joint"] + found["meta"]) / 2
    return {**rows, "omni, all flows": np.mean(list(found.values()), axis=0)}


def errors_of(found, tasks):
    """Mean squared errors (steps + 1, waves) of predictions."""
    return np.mean((found - tasks["query"][1]) ** 2, axis=(2, 3))


def evaluate(names, shot, seed, settings, folder):
    """Returns errors by row, and what the picture of recovered waves shows."""
    held_out, tasks = (
        datasets.sinusoid("shu2021", "test", shot, seed=own).batch(0, settings["test_waves"])
        for own in (seed + CHOICE, seed)
    )
    found, chosen = {}, None
    for method in names:
        if method == "ensemble":
            continue
        model = trained(method, shot, seed, settings, folder)
        rows = predictions(method, model, tasks, settings)
        if method == "omni":
            judged = predictions(method, model, held_out, settings)
            chosen = min(judged, key=lambda row: np.median(errors_of(judged[row], held_out)[1]))
            rows = {"omni": rows[chosen], **rows}
        found |= rows
    if "ensemble" in names:
        found["ensemble"] = (found["baseline"] + found["maml"]) / 2
    errors = {name: errors_of(values, tasks) for name, values in found.items()}
    return errors, found, tasks, chosen


def table(errors):
    """Rows of the table: mean, its 95 % interval and median over the waves of all seeds."""
    rows = []
    for (shot, name), values in errors.items():
        # All seeds' waves, (steps + 1, seeds x waves).
        joined = np.concatenate(values, axis=1)
        for step in REPORTED:
            mean, half = metrics.confidence_interval(joined[step])
            rows.append(
                {
                    "method": name,
                    "K": shot,
                    "steps": step,
                    "MSE": round(float(mean), 4),
                    "interval": round(float(half), 4),
                    "median": round(float(np.median(joined[step])), 4),
                    "medians of seeds": [round(float(np.median(v[step])), 4) for v in values],
                }
            )
    return rows


def draw(errors, found, tasks, folder):
    """Draws errors against steps (figure 5), and recovered waves (figure 6)."""
    for shot in {shot for shot, _ in errors}:
        lines = {
            name: {
                step: [float(np.log10(np.median(v[step]))) for v in values]
                for step in range(max(REPORTED) + 1)
            }
            for (own, name), values in errors.items()
            if own == shot
        }
        plotting.plot_curves(
            folder / f"errors_{shot}_shot.png", lines, "gradient steps",
            "median squared error, log10", f"New sine waves from {shot} points",
        )  # fmt: skip
    x, y = tasks["query"][0][0, :, 0], tasks["query"][1][0, :, 0]
    for step in (1, 10):
        waves = {"truth": {float(p): [float(v)] for p, v in zip(x, y)}}
        for name, values in found.items():
            points = zip(x, values[step, 0, :, 0])
            waves[name] = {float(p): [float(v)] for p, v in points}
        plotting.plot_curves(
            folder / f"waves_after_{step}.png", waves, "x", "y",
            f"One new wave after {step} gradient steps",
        )  # fmt: skip


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start = time.time()
    smoke = SMOKE.value
    names = NAMES.value
    if set(names) - set(METHODS) or ("ensemble" in names and {"baseline", "maml"} - set(names)):
        raise app.UsageError(
            f"--methods must be some of {list(METHODS)}, the ensemble with the two that it is "
            f"made of. Received: {names}."
        )
    settings = {
        "waves": 100 if smoke else WAVES.value,
        "units": [4] if smoke else [int(count) for count in UNITS.value],
        "branch_initializer": BRANCH.value,
        "steps": 4 if smoke else STEPS.value,
        "epochs": 2 if smoke else 10,
        "tasks": 2 if smoke else TASKS.value,
        "batch_size": BATCH.value,
        "learning_rate": RATE.value,
        "inner_rate": INNER.value,
        "distillation_weight": WEIGHT.value,
        "decay": DECAY.value,
        "test_waves": 4 if smoke else TEST_WAVES,
    }
    shots = [5] if smoke else [int(shot) for shot in SHOTS.value]
    seeds = [0] if smoke else [int(seed) for seed in SEEDS.value]
    folder = pathlib.Path(OUTPUT.value)
    evaluation.keep_settings(folder, settings)
    errors, choices = {}, {}
    for shot in shots:
        for seed in seeds:
            own, found, tasks, chosen = evaluate(names, shot, seed, settings, folder)
            choices[f"{shot}-shot, seed {seed}"] = chosen
            for name, values in own.items():
                errors.setdefault((shot, name), []).append(values)
    rows = table(errors)
    draw(errors, found, tasks, folder)
    evaluation.show_table(rows, "Squared error on new sine waves", 140)
    evaluation.write_results(
        folder / "results.json", rows, seeds[0], time.time() - start, seeds=seeds, shots=shots,
        chosen=choices, **settings,
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
