"""Packs a trunk and the domains that `train_domain_adapters.py` added to it, as named weights.

    python recipes/pack_domains.py --run_dir=runs/vdd --data_dir=... --name=vdd

Reads the trunk and the domain packs of a run (`trunk.weights.h5` and `parallel/seed0/*.zip`), makes
one network of them, stores its kernels in half precision, reads the file back as the constructor
does, and measures that on the test splits. What the run itself measured, with other networks
beside it, is in its `results.json`. Takes a minute on two cores.
"""

import json
import pathlib

from absl import app, flags

from keras_univrep import applications, datasets, evaluation, models
from keras_univrep.applications import weights_registry

# Data
BENCHMARK = flags.DEFINE_enum(
    "benchmark", "decathlon_local", ["decathlon_local", "five_domains"], "Which domains."
)
DATA = flags.DEFINE_string("data_dir", None, "Folder of decathlon_local's sets.")
RUN = flags.DEFINE_string("run_dir", None, "Folder of the run.", required=True)
# Model
NAME = flags.DEFINE_string("name", "vdd", "What to call the weights.")
SEED = flags.DEFINE_integer("seed", 0, "Seed whose packs are taken.")
LICENCE = flags.DEFINE_string(
    "licence", "research use only: trained on sets that are for research", "Of the weights."
)
# Output
OUTPUT = flags.DEFINE_string("output_dir", str(weights_registry.FOLDER), "Folder of the weights.")
SMOKE = flags.DEFINE_boolean("smoke", False, "Measure on the validation splits.")


def assemble(run, seed, settings):
    """Returns a network of the run's trunk and of all its packs, and its architecture."""
    architecture = {"width": settings["width"], "adapter": "parallel", "frozen_trunk": True}
    model = applications.UniversalResNet26(None, {"none": 1}, **architecture)
    model.backbone.trunk.load_weights(run / "trunk.weights.h5")
    packs = sorted((run / "parallel" / f"seed{seed}").glob("*.zip"))
    if not packs:
        raise app.UsageError(f"There must be packs in {run}/parallel/seed{seed}. Found none.")
    for path in packs:
        models.load_domain_pack(model, path)
    model.remove_domain("none")
    return model, architecture


def main(_):
    run, folder = pathlib.Path(RUN.value), pathlib.Path(OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    settings = json.loads((run / "settings.json").read_text())
    model, architecture = assemble(run, SEED.value, settings)
    known = datasets.benchmark(BENCHMARK.value, DATA.value, settings["size"])
    domains = {name: known[name] for name in model.domains}
    split = "validation" if SMOKE.value else "test"

    def measure(network):
        found = evaluation.domain_accuracy(network, domains, split)
        return {name: round(value, 2) for name, value in found.items()}

    entry = applications.register_weights(
        model, NAME.value,
        {name: applications.DomainEntry.of(domain) for name, domain in domains.items()}, measure,
        "python recipes/train_domain_adapters.py --method=parallel "
        f"--width={settings['width']} --size={settings['size']} --seed={SEED.value}",
        LICENCE.value, architecture=architecture, paper_row="rebuffi2018, table 2, row Parallel",
        seed=SEED.value, half=True, folder=folder,
    )  # fmt: skip
    evaluation.show_table(
        [{"weights": NAME.value, **entry.measured, "bytes": entry.size}], f"{split}, per cent", 180
    )


if __name__ == "__main__":
    app.run(main)
