"""Packs networks that `distill_universal.py` trained into the package, with what they score.

    python recipes/pack_weights.py --teachers_dir=runs/long --run_dir=runs/long --aliases=demo
    python recipes/pack_weights.py --run_dir=runs/vdd_url --benchmark=decathlon_local \\
        --data_dir=... --name=vdd-url --half --licence='research use only'

Reads the finished stages of a run, writes the weights, their SHA-256 and the accuracies of the
written files on the test splits into `keras_univrep/applications/weights`, from where
`UniversalResNet26(weights=...)` takes them. Takes a minute on two cores.
"""

import pathlib

from absl import app, flags

from keras_univrep import applications, datasets, evaluation
from keras_univrep.applications import weights_registry

# Data
BENCHMARK = flags.DEFINE_enum(
    "benchmark", "five_domains", ["five_domains", "decathlon_local"], "Which domains."
)
DATA = flags.DEFINE_string("data_dir", None, "Folder of decathlon_local's sets.")
DOMAINS = flags.DEFINE_list("domains", None, "The domains of the run, if not all.")
TEACHERS = flags.DEFINE_string("teachers_dir", None, "Folder of the teachers, if to be packed.")
RUN = flags.DEFINE_string("run_dir", None, "Folder of a run, or None for the teachers only.")
# Model
NAME = flags.DEFINE_string("name", "five_domains", "What to call the weights.")
ALIASES = flags.DEFINE_list("aliases", [], "Other names of the universal network.")
HALF = flags.DEFINE_boolean("half", False, "Store kernels in half precision.")
LICENCE = flags.DEFINE_string(
    "licence", "Apache-2.0; trained on the sets named in datasets/embedded/LICENSES.md",
    "Of the weights.",
)  # fmt: skip
WIDTH = flags.DEFINE_float("width", 0.25, "Factor of ResNet-26's channel numbers.")
# Training
JOINT = flags.DEFINE_integer("joint_steps", 1000, "Steps that the run was given.")
SEED = flags.DEFINE_integer("seed", 0, "Seed that the run was given.")
# Output
OUTPUT = flags.DEFINE_string("output_dir", str(weights_registry.FOLDER), "Folder of the weights.")
SMOKE = flags.DEFINE_boolean("smoke", False, "Evaluate on the validation splits.")

METHODS = {"universal": None, "universal_ra": "parallel"}


def pack(name, stage, domains, architecture, aliases, command):
    """Writes one file of weights and its entry in the registry."""
    num_classes = {key: domain.num_classes for key, domain in domains.items()}
    model = applications.UniversalResNet26(None, num_classes, **architecture)
    model.load_weights(stage / "network.weights.h5")

    def measure(network):
        found = evaluation.domain_accuracy(
            network, domains, "validation" if SMOKE.value else "test"
        )
        return {key: round(value, 2) for key, value in found.items()}

    applications.register_weights(
        model, name,
        {key: applications.DomainEntry.of(domain) for key, domain in domains.items()}, measure,
        command, LICENCE.value, architecture=architecture, seed=SEED.value, half=HALF.value,
        paper_row=f"li2022, table 6, row {'Finetune' if len(domains) == 1 else 'Ours'}",
        aliases=aliases, folder=pathlib.Path(OUTPUT.value),
    )  # fmt: skip


def main(_):
    pathlib.Path(OUTPUT.value).mkdir(parents=True, exist_ok=True)
    name, benchmark = NAME.value, BENCHMARK.value
    known = datasets.benchmark(benchmark, DATA.value)
    chosen = DOMAINS.value or list(known)
    if not set(chosen) <= set(known):
        raise app.UsageError(f"--domains must name some of {list(known)}. Received: {chosen}.")
    domains = {key: known[key] for key in chosen}
    architecture = {"width": WIDTH.value, "end_activation": False}
    command = f"python recipes/distill_universal.py --benchmark={benchmark} --preset=long"
    for key in domains if TEACHERS.value else ():
        stage = pathlib.Path(TEACHERS.value) / f"teacher_{key}"
        pack(f"{name}_teacher_{key}", stage, {key: domains[key]}, architecture, (), command)
    for method, adapter in METHODS.items():
        stage = pathlib.Path(RUN.value or ".") / method
        if RUN.value and (stage / "finished.json").exists():
            aliases = ALIASES.value if adapter is None else ()
            own = {**architecture, "adapter": adapter}
            full = f"{command} --joint_steps={JOINT.value} --seed={SEED.value}"
            pack(name + method.removeprefix("universal"), stage, domains, own, aliases, full)


if __name__ == "__main__":
    app.run(main)
