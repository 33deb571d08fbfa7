"""Converts checkpoints of the papers' authors to this library's networks, and back.

Papers: Rebuffi et al. (rebuffi2018) and Li et al. (li2022), whose repositories are
srebuffi/residual_adapters, VICO-UoE/UniversalRepresentations (VisualDecathlon, and SegNet of
DensePred) and VICO-UoE/URL.

    python recipes/convert_weights.py --source=residual_adapters --input=checkpoint.t7 \\
        --domains=aircraft,dtd --output=adapters.keras
    python recipes/convert_weights.py --source=url --input=model_best.pth.tar --output=url.keras
    python recipes/convert_weights.py --source=url --input=url.keras --output=url.npz --back

Files of PyTorch are read without PyTorch, and without executing what they hold; a checkpoint that
asks for more than tensors and layers is refused. `--back` writes the state dictionary, an array a
weight, which goes into `load_state_dict` by `torch.from_numpy`.
"""

import pathlib

import keras
import numpy as np
from absl import app, flags

from keras_univrep.conversion import from_torch, to_torch

SOURCE = flags.DEFINE_enum(
    "source", None, ["residual_adapters", "universal_representations",
                     "universal_representations_dense", "url"],
    "The repository that the checkpoint is of.", required=True,
)  # fmt: skip
INPUT = flags.DEFINE_string("input", None, "The checkpoint, or a .keras file.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "The .keras file, or .npz file.", required=True)
DOMAINS = flags.DEFINE_list("domains", [], "Names of the tasks, in the order of the checkpoint.")
MODULES = flags.DEFINE_list("modules", ["models"], "Modules of the pickled network's classes.")
BACK = flags.DEFINE_boolean("back", False, "From this library's network to PyTorch's weights.")


def main(_):
    path = pathlib.Path(OUTPUT.value)
    wanted = ".npz" if BACK.value else ".keras"
    if path.suffix != wanted:
        raise app.UsageError(f"--output must end with {wanted}. Received: {path}.")
    if path.exists():
        raise app.UsageError(f"--output must be free. Received: {path}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"partial-{path.name}")
    if BACK.value:
        model = keras.models.load_model(INPUT.value, compile=False)
        np.savez(partial, **to_torch(model, SOURCE.value))
    else:
        model = from_torch(INPUT.value, SOURCE.value, DOMAINS.value, MODULES.value)
        model.save(partial)
    partial.replace(path)
    print(f"{model.count_params():,} weights in {path}")


if __name__ == "__main__":
    app.run(main)
