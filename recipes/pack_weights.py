"""Packs networks that `distill_universal.py` trained into the package, with what they score.

    python recipes/pack_weights.py --teachers_dir=runs/long --run_dir=runs/long --seed=0

Reads the finished stages of a run, evaluates each network on the test splits, and writes the
weights, their SHA-256 and the accuracies into `keras_univrep/applications/weights`, from where
`UniversalResNet26(weights=...)` takes them. Takes a minute on two cores.
"""

import pathlib

from absl import app, flags

from keras_univrep import applications, datasets, evaluation
from keras_univrep.applications import weights_registry

# Data
BENCHMARK = flags.DEFINE_string("benchmark", "five_domains", "Name of the embedded benchmark.")
DOMAINS = flags.DEFINE_list("domains", None, "The domains of the run, if not all.")
TEACHERS = flags.DEFINE_string("teachers_dir", None, "Folder of the teachers.", required=True)
RUN = flags.DEFINE_string("run_dir", None, "Folder of a run, or None for the teachers only.")
# Model
WIDTH = flags.DEFINE_float("width", 0.25, "Factor of ResNet-26's channel numbers.")
# Training
JOINT = flags.DEFINE_integer("joint_steps", 1000, "Steps that the run was given.")
SEED = flags.DEFINE_integer("seed", 0, "Seed that the run was given.")
# Output
OUTPUT = flags.DEFINE_string("output_dir", str(weights_registry.FOLDER), "Folder of the weights.")
SMOKE = flags.DEFINE_boolean("smoke", False, "Evaluate on the validation splits.")

METHODS = {"universal": None, "universal_ra": "parallel"}


def describe(domain):
    """Returns what the registry keeps of a domain."""
    return applications.DomainEntry(
        domain.name, domain.num_classes, tuple(domain.class_names), tuple(domain.image_shape[:2]),
        tuple(domain.mean), tuple(domain.std), domain.licence,
    )  # fmt: skip


def pack(name, stage, domains, architecture, split, folder, recipe, seed):
    """Writes one file of weights and its entry in the registry."""
    num_classes = {key: domain.num_classes for key, domain in domains.items()}
    model = applications.UniversalResNet26(None, num_classes, **architecture)
    model.load_weights(stage / "network.weights.h5")
    accuracies = evaluation.domain_accuracy(model, domains, split)
    applications.register_weights(
        model, name, {key: describe(domain) for key, domain in domains.items()},
        {key: round(value, 2) for key, value in accuracies.items()}, recipe,
        "Apache-2.0; trained on the sets named in datasets/embedded/LICENSES.md",
        architecture=architecture, seed=seed, folder=folder,
        paper_row=f"li2022, table 6, row {'Finetune' if len(domains) == 1 else 'Ours'}",
        aliases=("demo",) if name == "five_domains" else (),
    )  # fmt: skip


def main(_):
    folder = pathlib.Path(OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    known = datasets.benchmark(BENCHMARK.value)
    chosen = DOMAINS.value or list(known)
    if not set(chosen) <= set(known):
        raise app.UsageError(f"--domains must name some of {list(known)}. Received: {chosen}.")
    domains = {name: known[name] for name in chosen}
    split = "validation" if SMOKE.value else "test"
    architecture = {"width": WIDTH.value, "end_activation": False}
    command = "python recipes/distill_universal.py --preset={}"
    for name, domain in domains.items():
        stage = pathlib.Path(TEACHERS.value) / f"teacher_{name}"
        pack(
            f"{BENCHMARK.value}_teacher_{name}", stage, {name: domain}, architecture, split,
            folder, command.format("long"), SEED.value,
        )  # fmt: skip
    for method, adapter in METHODS.items():
        if RUN.value is None or not (pathlib.Path(RUN.value) / method / "finished.json").exists():
            continue
        name = BENCHMARK.value + method.removeprefix("universal")
        pack(
            name, pathlib.Path(RUN.value) / method, domains, {**architecture, "adapter": adapter},
            split, folder, f"{command.format('demo')} --joint_steps={JOINT.value}", SEED.value,
        )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
