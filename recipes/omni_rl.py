"""Trains policies to adapt to tasks by Omni-Training, and by what it is made of.

Paper: Shu et al., "Omni-Training for data-efficient deep learning" (2021), section 6.3 and figure
8, which prints no numbers: the return in new tasks after 0 to 4 gradient steps of REINFORCE, each
on 20 rollouts, in 2D navigation and HalfCheetah. The paper's protocol: two layers of 64 units with
tanh, 500 iterations, 20 tasks (HalfCheetah 40) of 20 rollouts each, inner rate 0.1, one inner step,
2000 test tasks, rho 0.99.

    KERAS_BACKEND=jax python recipes/omni_rl.py --output_dir=runs/omni_rl
    python recipes/omni_rl.py --output_dir=runs/smoke --smoke

Methods: "baseline" (pre-training: one policy for all tasks), "maml" (meta-training alone) and
"omni", each flow of which is a row as well; the row "omni" is the flow that is best after one step
on tasks kept for the choice. All adapt by the same gradient steps. In training each flow learns
from what it did itself. A killed run goes on where it was when the same command is given again.

The paper prints neither the optimizer nor the discount: here Adam, and 0.99. Its outer rate of 0.03
is for an optimizer that it does not name; ours is that of --learning_rate, the same for all. Its
lambda of 3 is that of classification: beside the small losses of policies it holds the flows to
their teacher, so that here it is 0.1.

Expected: docs/results.md. Hardware: one core; the default takes some hours, the smaller sizes
there less. HalfCheetah needs `pip install 'keras_univrep[rl]'`.
"""

import json
import logging
import pathlib
import time

import keras
import numpy as np
from absl import app, flags

from keras_univrep import backbones, evaluation, metrics, models, plotting, reinforcement

# Losses and terms of the joint loss of each method.
TRAINED = {
    "baseline": (["joint"], ["pre"]),
    "maml": (["joint"], ["meta"]),
    "omni": (["joint", "pre", "meta"], ["pre", "meta"]),
}
ENVIRONMENTS = {
    "navigation": lambda horizon: reinforcement.Navigation2D(horizon or 100),
    "velocity": lambda horizon: reinforcement.HalfCheetah("velocity", horizon or 200),
    "direction": lambda horizon: reinforcement.HalfCheetah("direction", horizon or 200),
}
# Added to the seed of training, of the tasks by which a flow is chosen, and of the test's.
CHOICE, TEST = 1000, 2000

# Data
ENVIRONMENT = flags.DEFINE_enum("environment", "navigation", list(ENVIRONMENTS), "Where.")
HORIZON = flags.DEFINE_integer("horizon", None, "Most steps of a rollout; None for the paper's.")
# Model
UNITS = flags.DEFINE_list("units", ["64", "64"], "Units of each layer.")
STD = flags.DEFINE_float("initial_std", 1.0, "Standard deviation of actions at first.")
BRANCH = flags.DEFINE_string("branch_initializer", "glorot_uniform", "Start of the branches.")
# Training
NAMES = flags.DEFINE_list("method", list(TRAINED), f"Some of {list(TRAINED)}.")
ITERATIONS = flags.DEFINE_integer("iterations", 500, "Training steps.")
TASKS = flags.DEFINE_integer("tasks", 20, "Tasks of a step.")
ROLLOUTS = flags.DEFINE_integer("rollouts", 20, "Rollouts of a task for each gradient step.")
RATE = flags.DEFINE_float("learning_rate", 0.01, "Of Adam.")
INNER = flags.DEFINE_float("inner_rate", 0.1, "Rate of the gradient steps in a task.")
WEIGHT = flags.DEFINE_float("distillation_weight", 0.1, "lambda.")
DECAY = flags.DEFINE_float("decay", 0.99, "rho.")
DISCOUNT = flags.DEFINE_float("discount", 0.99, "Of the advantages.")
SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "Seeds of weights and tasks.")
# Output
STEPS = flags.DEFINE_integer("test_steps", 4, "Gradient steps in a test task.")
TEST_TASKS = flags.DEFINE_integer("test_tasks", 2000, "Tasks of the test.")
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A minute-long run that shows that all works.")


def make_model(method, environment, settings):
    """Returns an untrained model of a method."""
    trunk = backbones.MLP(environment.observation_size, settings["units"])
    network = backbones.OmniNet(trunk, branch_initializer=settings["branch_initializer"])
    losses, terms = TRAINED[method]
    model = models.OmniTraining(
        network,
        reinforcement.GaussianHead(
            environment.action_size, settings["initial_std"], min_std=0.01, name="policy"
        ),
        "maml" if "meta" in terms else None,
        {"steps": 1, "learning_rate": settings["inner_rate"]} if "meta" in terms else None,
        losses=losses, joint_terms=terms,
        distillation_weight=settings["distillation_weight"], decay=settings["decay"],
    )  # fmt: skip
    model.compile(
        keras.optimizers.Adam(settings["learning_rate"]), reinforcement.PolicyGradientLoss()
    )
    return model


def trained(method, seed, environment, settings, folder):
    """Returns the model of a method, trained, resumably; and mean returns of each iteration."""
    keras.utils.set_random_seed(seed)
    model = make_model(method, environment, settings)
    weights, log = (folder / f"{method}_seed{seed}{end}" for end in (".weights.h5", ".json"))
    history = []
    if log.exists() and weights.exists():
        history = json.loads(log.read_text())
        model.load_weights(weights)
    source = reinforcement.PolicyRollouts(
        model, environment, settings["tasks"], settings["rollouts"], settings["inner_rate"],
        settings["discount"], seed,
    )  # fmt: skip
    for number in range(len(history), settings["iterations"]):
        model.train_on_batch(source.item(number))
        history.append({flow: list(values) for flow, values in source.returns.items()})
        if (number + 1) % settings["keep"] == 0 or number + 1 == settings["iterations"]:
            # The log counts the iterations: without it the weights are of no step.
            log.unlink(missing_ok=True)
            model.save_weights(weights, overwrite=True)
            log.write_text(json.dumps(history))
            logging.info("%s, seed %d, step %d: %s", method, seed, number + 1, history[-1])
    return model, history


def returns_of(model, environment, settings, count, seed):
    """Returns of each flow in new tasks, (steps + 1, tasks)."""
    goals = environment.sample_goals(count, np.random.default_rng(seed))
    flows = sorted({flow for own in model.trained.values() for flow in own})
    found = {}
    for flow in flows:
        networks = models.TaskNetworks(
            model.learner(flow), settings["inner_rate"], reinforcement.PolicyGradientLoss()
        )
        # In parts, of the size of a training step.
        parts = [
            reinforcement.adapted_returns(
                networks, environment, goals[first : first + settings["tasks"]],
                settings["test_steps"], settings["rollouts"], settings["discount"], seed + first,
            )
            for first in range(0, count, settings["tasks"])
        ]  # fmt: skip
        found[flow] = np.concatenate(parts, axis=1)
    return found


def evaluate(method, model, environment, settings, seed):
    """Returns of each row in the test's tasks, and the flow that was chosen."""
    found = returns_of(model, environment, settings, settings["test_tasks"], TEST + seed)
    if method != "omni":
        return {method: found["joint"]}, None
    kept = returns_of(model, environment, settings, settings["choice_tasks"], CHOICE + seed)
    chosen = max(kept, key=lambda flow: kept[flow][min(1, settings["test_steps"])].mean())
    rows = {f"omni, {flow} flow": values for flow, values in found.items()}
    return {"omni": found[chosen], **rows}, chosen


def table(returns):
    """Rows of the table: mean return, its 95 % interval and the means of the seeds."""
    rows = []
    for name, values in returns.items():
        for step in range(len(values[0])):
            seeds = [float(v[step].mean()) for v in values]
            mean, half = metrics.confidence_interval(np.concatenate([v[step] for v in values]))
            rows.append(
                {
                    "method": name,
                    "steps": step,
                    "return": round(float(mean), 3),
                    "interval": round(float(half), 3),
                    "median of seeds": round(float(np.median(seeds)), 3),
                    "seeds": [round(value, 3) for value in seeds],
                }
            )
    return rows


def draw(returns, histories, settings, folder):
    """Draws returns against gradient steps (figure 8) and against training steps."""
    lines = {
        name: {step: [float(v[step].mean()) for v in values] for step in range(len(values[0]))}
        for name, values in returns.items()
    }
    title = f"New tasks of {settings['environment']}"
    plotting.plot_curves(folder / "returns.png", lines, "gradient steps", "mean return", title)
    window = max(1, settings["iterations"] // 20)
    lines = {}
    for method, seeds in histories.items():
        for flow in seeds[0][0]:
            # After adaptation where a flow adapts, and before it where it does not.
            values = [
                [step[flow][0 if np.isnan(step[flow][1]) else 1] for step in own] for own in seeds
            ]
            lines[method if method != "omni" else f"omni, {flow} flow"] = {
                first: [float(np.mean(own[first : first + window])) for own in values]
                for first in range(0, settings["iterations"], window)
            }
    plotting.plot_curves(
        folder / "training.png", lines, "training steps", "mean return", "Tasks of training"
    )


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start = time.time()
    smoke, names = SMOKE.value, NAMES.value
    if set(names) - set(TRAINED):
        raise app.UsageError(f"--method must be some of {list(TRAINED)}. Received: {names}.")
    settings = {
        "environment": ENVIRONMENT.value,
        "units": [4] if smoke else [int(count) for count in UNITS.value],
        "initial_std": STD.value,
        "branch_initializer": BRANCH.value,
        "iterations": 2 if smoke else ITERATIONS.value,
        "tasks": 2 if smoke else TASKS.value,
        "rollouts": 3 if smoke else ROLLOUTS.value,
        "learning_rate": RATE.value,
        "inner_rate": INNER.value,
        "distillation_weight": WEIGHT.value,
        "decay": DECAY.value,
        "discount": DISCOUNT.value,
        "horizon": 5 if smoke else HORIZON.value,
        "keep": 1 if smoke else 25,
        "test_steps": 2 if smoke else STEPS.value,
        "test_tasks": 2 if smoke else TEST_TASKS.value,
        "choice_tasks": 2 if smoke else 100,
    }
    seeds = [0] if smoke else [int(seed) for seed in SEEDS.value]
    folder = pathlib.Path(OUTPUT.value)
    evaluation.keep_settings(folder, settings)
    environment = ENVIRONMENTS[settings["environment"]](settings["horizon"])
    returns, histories, choices = {}, {}, {}
    for seed in seeds:
        for method in names:
            model, history = trained(method, seed, environment, settings, folder)
            histories.setdefault(method, []).append(history)
            rows, chosen = evaluate(method, model, environment, settings, seed)
            choices |= {} if chosen is None else {f"seed {seed}": chosen}
            for name, values in rows.items():
                returns.setdefault(name, []).append(values)
    rows = table(returns)
    draw(returns, histories, settings, folder)
    evaluation.show_table(rows, "Return in new tasks", 120)
    evaluation.write_results(
        folder / "results.json", rows, seeds[0], time.time() - start, seeds=seeds,
        chosen=choices, **settings,
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
