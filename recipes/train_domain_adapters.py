"""Adds domains to one frozen trunk in every way of the paper, and its two transfer studies.

Paper: Rebuffi, Bilen, Vedaldi, "Efficient parametrization of multi-domain deep neural networks"
(rebuffi2018): tables 1 and 2 (methods, placements, compression), section 4.2 (share of the
training data) and 4.3 (width, pre-training classes), on `decathlon_local`: small parts of the
Visual Decathlon's sets at 32x32 pixels, with tiny_imagenet in ImageNet's place; or with
`--benchmark=visual_decathlon` on the Visual Decathlon.

    python recipes/train_domain_adapters.py --data_dir=... --output_dir=runs/adapters
    python recipes/train_domain_adapters.py --data_dir=... --output_dir=runs/adapters --study=size
    python recipes/train_domain_adapters.py --output_dir=runs/smoke --smoke
    python recipes/train_domain_adapters.py --benchmark=visual_decathlon --width=1 --preset=paper \\
        --data_dir=tensorflow_datasets --output_dir=runs/vdd                        # a GPU

Each domain of each method becomes a domain pack, `METHOD/seed0/DOMAIN.zip`, that loads onto the
trunk; what is there is not trained again, and a killed run goes on where it was when the same
command is given again. `--benchmark=five_domains` needs no data but what ships with the package.
Of the Visual Decathlon, whose test labels are secret, it leaves submissions: `decathlon_data.py`.

Expected: docs/results.md. Hardware: two cores, about 1 minute a domain and method.
"""

import logging
import pathlib
import time

import decathlon_data
import keras
import numpy as np
from absl import app, flags

from keras_univrep import backbones, compression, datasets, evaluation, metrics, models, plotting
from keras_univrep.callbacks import ProgressBar
from keras_univrep.optimizers import CoupledSGD, l2_for_size

ALL = ".*"
# What makes each method an AdaptedBackbone; rebuffi2018 tables 1 and 2.
METHODS = {
    "feature extractor": {"adapter": None, "normalization": "shared"},
    "scratch": {
        "adapter": "copy",
        "placement": ALL,
        "normalization": "new",
        "adapter_options": {"reinitialize": True},
    },
    "fine-tune": {"adapter": "copy", "placement": ALL},
    "normalisation only": {"adapter": None},
    "piggyback": {"adapter": "piggyback", "normalization": "shared"},
    "deep adaptation": {"adapter": "deep_adaptation"},
    "series": {"adapter": "series"},
    "parallel": {"adapter": "parallel"},
    "parallel, half": {"adapter": "parallel", "placement": ["stem", "half"]},
    "parallel, early": {"adapter": "parallel", "placement": "early"},
    "parallel, mid": {"adapter": "parallel", "placement": "mid"},
    "parallel, late": {"adapter": "parallel", "placement": "late"},
    "parallel, svd": {"adapter": "parallel", "compress": "svd"},
    "parallel, joint svd": {"adapter": "parallel", "compress": "joint_svd"},
}
TABLE = ["feature extractor", "scratch", "fine-tune", "series", "parallel", "parallel, joint svd"]
STUDIED = ["fine-tune", "series", "parallel"]
# Highest rates; of 0.02, 0.1, 0.25 and 0.5 these were best on the validation splits of gtsrb and
# chars74k36 after 300 steps. The adapter of a parallel method starts from zero beside a trunk.
RATES = {"parallel": 0.25, None: 0.1}
# Bits that one weight of a domain takes where it is not a float of 32.
BITS = {"piggyback": 1}
PRESETS = {
    "local": {"trunk": 3000, "domain": 500, "tune": 150, "batch": 64},
    "paper": {"trunk": 120000, "domain": 12000, "tune": 4000, "batch": 128},
    "smoke": {"trunk": 2, "domain": 2, "tune": 2, "batch": 8},
}
TRUNKS = {
    "decathlon_local": "tiny_imagenet",
    "five_domains": "omniglot",
    "visual_decathlon": "imagenet12",
}

# Data
BENCHMARK = flags.DEFINE_enum("benchmark", "decathlon_local", list(TRUNKS), "Which domains.")
DATA = flags.DEFINE_string(
    "data_dir", None, "Folder of decathlon_local's sets, or of TensorFlow Datasets."
)
SIZE = flags.DEFINE_integer("size", 32, "Side of decathlon_local's images, in pixels.")
DOMAINS = flags.DEFINE_list("domains", None, "Domains to add to the trunk; all by default.")
SPLIT = flags.DEFINE_enum("split", "test", ["validation", "test"], "What the table is read on.")
# Model
WIDTH = flags.DEFINE_float("width", 0.25, "Factor of ResNet-26's channel numbers.")
METHOD = flags.DEFINE_multi_enum("method", TABLE, list(METHODS), "Rows of the table.")
DROPOUT = flags.DEFINE_float("dropout", 0.0, "Channels dropped before each parallel adapter.")
# Training
PRESET = flags.DEFINE_enum("preset", "local", list(PRESETS), "Steps of each stage, batch size.")
SEED = flags.DEFINE_multi_integer("seed", [0], "Seeds of everything but the trunk; may repeat.")
RATE = flags.DEFINE_float("learning_rate", None, "Highest rate; by default the method's own.")
L2 = flags.DEFINE_float("l2", None, "Weight decay; by default by the domain's size, as printed.")
STUDY = flags.DEFINE_enum("study", "methods", ["methods", "size", "trunk"], "What to compare.")
FRACTIONS = flags.DEFINE_multi_float("fraction", [0.1, 0.3, 1.0], "Shares of the training data.")
WIDTHS = flags.DEFINE_multi_float("trunk_width", [0.125, 0.25], "Widths of the trunk study.")
CLASSES = flags.DEFINE_multi_integer("trunk_classes", [50, 200], "Its pre-training classes.")
# Output
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A minute-long run that shows that all works.")


def load_domains(benchmark, data_dir, size, chosen):
    """Returns the trunk's domain and those to add, by name."""
    if benchmark == "visual_decathlon":
        known = decathlon_data.open_decathlon(data_dir)
    else:
        known = datasets.benchmark(benchmark, data_dir, size)
    trunk = known.pop(TRUNKS[benchmark])
    missing = sorted(set(chosen or ()) - set(known))
    if missing:
        raise app.UsageError(f"--domains must name some of {sorted(known)}. Received: {missing}.")
    return trunk, {name: known[name] for name in chosen or known}


def cosine_sgd(steps, rate, l2):
    """Returns SGD with momentum and a true L2 penalty, a short warm-up and a cosine to zero."""
    warmup = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 10, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
    )
    return CoupledSGD(schedule, momentum=0.9, l2=l2, global_clipnorm=10.0)


def fit(model, domain, steps, batch, folder, title, seed):
    """Trains the compiled `model` on one domain, resumably."""
    per_epoch = 50 if steps % 50 == 0 else steps

    def batches(first_step):
        return datasets.endless_batches(
            {domain.name: domain}, "train", batch, seed=seed, first_step=first_step
        )

    bar = ProgressBar(title, per_epoch, steps // per_epoch)
    models.resumable_fit(model, batches, steps, folder, per_epoch, [bar])


def train_trunk(domain, width, steps, batch, folder):
    """Returns a ResNet-26 trained from scratch on the pre-training domain."""
    path = folder / "trunk.weights.h5"
    keras.utils.set_random_seed(0)
    trunk = backbones.ResNet26(width=width, name="trunk")
    model = models.MultiDomainModel(trunk, {domain.name: domain.num_classes})
    if not path.exists():
        model.compile(cosine_sgd(steps, 0.1, l2=5e-4))
        fit(model, domain, steps, batch, folder, f"trunk on {domain.name}", 0)
        # The trunk's own comes last: where it is, the training is finished.
        for network, file in ((model, folder / "source.weights.h5"), (trunk, path)):
            network.save_weights(folder / "partial.weights.h5", overwrite=True)
            (folder / "partial.weights.h5").replace(file)
    trunk.load_weights(path)
    return trunk


def new_network(trunk, method, names, classes, dropout, seed):
    """Returns the network of a method with untrained domains, over a copy of the trunk."""
    keras.utils.set_random_seed(seed)
    copy = backbones.ResNet26.from_config(trunk.get_config())
    copy.set_weights(trunk.get_weights())
    options = {key: value for key, value in METHODS[method].items() if key != "compress"}
    if dropout and options["adapter"] == "parallel":
        options["adapter_options"] = {"dropout": dropout}
    backbone = backbones.AdaptedBackbone(copy, names, **options)
    return models.MultiDomainModel(backbone, {name: classes[name] for name in names})


def train_domain(network, domain, steps, batch, folder, title, seed, rate, l2):
    """Trains one domain of a network, unless its pack is there; the pack is written last."""
    path = folder / f"{domain.name}.zip"
    if path.exists():
        return path
    l2 = l2_for_size(domain.size("train")) if l2 is None else l2
    network.compile(cosine_sgd(steps, rate, l2), domains=[domain.name])
    fit(network, domain, steps, batch, folder / domain.name, title, seed)
    models.save_domain_pack(
        network, domain.name, path, domain.class_names, f"{title}, seed {seed}",
        {"mean": list(domain.mean), "std": list(domain.std), "shape": list(domain.image_shape)},
    )  # fmt: skip
    keras.utils.clear_session(free_memory=True)
    return path


def train_method(method, trunk, domains, steps, folder, seed, rate, l2, dropout):
    """Returns one network with every domain of a method."""
    classes = {name: domain.num_classes for name, domain in domains.items()}
    compress = METHODS[method].get("compress")
    if rate is None:
        rate = RATES.get(METHODS[method]["adapter"], RATES[None])
    # Compression starts from the method without it, and so from the same packs.
    base = next(
        name for name, options in METHODS.items()
        if options == {k: v for k, v in METHODS[method].items() if k != "compress"}
    )  # fmt: skip
    place = folder / slug(base) / f"seed{seed}"
    packs = {}
    for name, domain in domains.items():
        network = new_network(trunk, base, [name], classes, dropout, seed)
        packs[name] = train_domain(
            network, domain, steps["domain"], steps["batch"], place, f"{base}, {name}", seed,
            rate, l2,
        )  # fmt: skip
    network = assemble(new_network(trunk, base, ["none"], {"none": 1}, dropout, seed), packs)
    if compress is None:
        return network
    network = getattr(compression, compress)(network, 0.5)
    place, tuned = folder / slug(method) / f"seed{seed}", {}
    for name, domain in domains.items():
        tuned[name] = train_domain(
            network, domain, steps["tune"], steps["batch"], place, f"{method}, {name}", seed,
            rate / 10, l2,
        )  # fmt: skip
    for name, path in tuned.items():
        models.load_domain_pack(network, path, name="tuned")
        network.remove_domain(name)
        network.rename_domain("tuned", name)
    return network


def assemble(network, packs):
    """Loads the packs of all domains onto the trunk of a network with a place holder."""
    for path in packs.values():
        models.load_domain_pack(network, path)
    network.remove_domain("none")
    return network


def slug(title):
    """Returns a title as the name of a folder."""
    return title.replace(", ", "_").replace(" ", "_").replace("-", "_")


def size_of(network, method):
    """Returns the backbone's size over its trunk's, by what has to be stored."""
    backbone = network.backbone
    trunk = backbone.trunk.count_params()
    own = backbone.count_params() - trunk
    return metrics.parameter_ratio(trunk + round(own * BITS.get(method, 32) / 32), trunk)


def methods_study(trunk, domains, methods, split, seeds, folder, arguments, source=None):
    """Returns one row a method and seed; of the Visual Decathlon `source` is the trunk's domain."""
    rows = []
    for seed in seeds:
        for method in methods:
            start = time.time()
            network = train_method(method, trunk, domains, folder=folder, seed=seed, **arguments)
            official = {}
            if source is not None and split == "test":
                path = folder / "submissions" / f"{slug(method)}_seed{seed}.zip"
                official = decathlon_data.submit(network, domains, trunk, source, path)
            accuracies = {name: official.pop(name) for name in domains if name in official}
            if not accuracies:
                known = "validation" if source is not None else split
                accuracies = evaluation.domain_accuracy(network, domains, known)
            rows.append(
                {
                    "method": method,
                    "seed": seed,
                    **{name: round(value, 2) for name, value in accuracies.items()},
                    **official,
                    "mean": round(float(np.mean(list(accuracies.values()))), 2),
                    "parameters": round(size_of(network, method), 3),
                    "seconds": round(time.time() - start, 1),
                }
            )
    return with_scores(rows, list(domains))


def with_scores(rows, names):
    """Adds the decathlon score against the fine-tuned networks of the same seed."""
    for row in rows:
        reference = [r for r in rows if r["method"] == "fine-tune" and r["seed"] == row["seed"]]
        if reference:
            base = {name: min(reference[0][name], 99.9) for name in names}
            row["score"] = round(metrics.decathlon_score({n: row[n] for n in names}, base), 1)
    return rows


def means(rows):
    """Returns the mean over seeds of each method's numbers."""
    table = []
    for method in dict.fromkeys(row["method"] for row in rows):
        group = [row for row in rows if row["method"] == method]
        numbers = [key for key in group[0] if key not in ("method", "seed")]
        table.append(
            {"method": method, "seeds": len(group)}
            | {key: round(float(np.mean([row[key] for row in group])), 2) for key in numbers}
        )
    return table


def size_study(trunk, domains, fractions, split, seeds, folder, arguments):
    """Section 4.2: accuracy against the share of the training data; a picture a domain."""
    rows = []
    for fraction in fractions:
        less = {
            name: datasets.subset(domain, fraction=fraction) if fraction < 1 else domain
            for name, domain in domains.items()
        }
        part = folder if fraction == 1 else folder / f"fraction_{fraction}"
        found = methods_study(trunk, less, STUDIED, split, seeds, part, arguments)
        rows += [{"fraction": fraction, **row} for row in found]
    for name in domains:
        curves = {method: {} for method in STUDIED}
        for row in rows:
            curves[row["method"]].setdefault(row["fraction"], []).append(row[name])
        plotting.plot_curves(
            folder / f"size_{name}.png", curves, "share of the training images",
            f"{split} accuracy, per cent", f"{name}, {domains[name].size('train')} images",
        )  # fmt: skip
    return rows


def trunk_study(source, domains, widths, counts, split, seeds, folder, arguments):
    """Section 4.3: accuracy of parallel adapters against the trunk's width and classes."""
    rows = []
    for width in widths:
        for count in counts:
            part = folder / f"trunk_width{width}_classes{count}"
            some = datasets.with_classes(source, source.class_names[:count])
            batch = arguments["steps"]["batch"]
            trunk = train_trunk(some, width, arguments["steps"]["trunk"], batch, part)
            found = methods_study(trunk, domains, ["parallel"], split, seeds, part, arguments)
            rows += [{"width": width, "classes": count, **row} for row in found]
    curves = {f"width {width}": {} for width in widths}
    for row in rows:
        curves[f"width {row['width']}"].setdefault(row["classes"], []).append(row["mean"])
    plotting.plot_curves(
        folder / "trunk.png", curves, "classes of the pre-training",
        f"mean {split} accuracy, per cent", "Parallel adapters on trunks of several sizes",
    )  # fmt: skip
    return rows


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start = time.time()
    benchmark = "five_domains" if SMOKE.value and DATA.value is None else BENCHMARK.value
    decathlon = benchmark == "visual_decathlon"
    if decathlon and STUDY.value != "methods":
        raise app.UsageError(
            "--study must be 'methods' on the Visual Decathlon, whose sets are read as they are. "
            f"Received: --study={STUDY.value}."
        )
    chosen = DOMAINS.value or (
        ["signdigits"] if benchmark == "five_domains" and SMOKE.value else None
    )
    steps = PRESETS["smoke" if SMOKE.value else PRESET.value]
    methods = ["parallel", "parallel, joint svd"] if SMOKE.value else METHOD.value
    source, domains = load_domains(benchmark, DATA.value, SIZE.value, chosen)
    folder = pathlib.Path(OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    arguments = {
        "steps": steps, "rate": RATE.value, "l2": L2.value, "dropout": DROPOUT.value,
    }  # fmt: skip
    settings = {**arguments, "benchmark": benchmark, "size": SIZE.value, "width": WIDTH.value}
    if decathlon:
        settings["decathlon_preset"] = decathlon_data.VARIANT.value
    evaluation.keep_settings(folder, settings)
    common = {"split": SPLIT.value, "seeds": SEED.value, "folder": folder, "arguments": arguments}
    if STUDY.value == "trunk":
        rows = trunk_study(source, domains, WIDTHS.value, CLASSES.value, **common)
    else:
        trunk = train_trunk(source, WIDTH.value, steps["trunk"], steps["batch"], folder)
        if STUDY.value == "size":
            rows = size_study(trunk, domains, sorted(FRACTIONS.value), **common)
        else:
            source = source if decathlon else None
            rows = methods_study(trunk, domains, methods, source=source, **common)
            evaluation.show_table(means(rows), "Accuracy (per cent) and what it costs", 180)
    evaluation.show_table(rows, "Accuracy (per cent) and what it costs", 180)
    name = "results.json" if STUDY.value == "methods" else f"results_{STUDY.value}.json"
    evaluation.write_results(
        folder / name, rows, SEED.value[0], time.time() - start,
        split=SPLIT.value, seeds=SEED.value, **settings,
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
