"""Trains the networks of the few-shot experiments: teachers, MDL, and universal networks (URL).

Paper: Li, Liu, Bilen, "Universal representations" (li2022), sections 4 and 5.3 to 5.5 and A.3: one
single-domain network (SDL) for each training domain, one network of all (MDL), and universal
networks that are distilled from the first; the loss ablations of tables 12, 13 and 17, and the
hierarchical distillation of section 5.4, on `datasets.meta_local`, or with
`--benchmark=meta_dataset` on Meta-Dataset (`few_shot_data.py` says how to name its images).

    python recipes/train_url.py --data_dir=... --output_dir=runs/url                # two cores
    python recipes/train_url.py --data_dir=... --output_dir=runs/url --preset=released    # a GPU
    python recipes/train_url.py --data_dir=... --output_dir=runs/url --name=url_l2 \\
        --feature_loss=normalized_l2 --noprediction_loss                            # table 12
    ... --name=url_kl --feature_loss=none                                           # table 13
    ... --name=url_plain --adapter=none                                             # table 17
    ... --name=url_groups --groups=3                                                # section 5.4
    python recipes/train_url.py --output_dir=runs/smoke --smoke

As in the released code the universal network starts from the network of the largest domain (there
ImageNet), and in the local preset all networks do. `networks.json` lists what is trained: for each
network its file, which `keras.saving.load_model` opens, its kind, its domains and its backbone.
What is listed is not trained again, and a killed run goes on where it was when the same command is
given again. With `--only`, several processes share the work: first the largest domain's network,
then the other teachers, then `mdl` and the universal networks, each as
`--only=sdl_omniglot28,sdl_quickdraw8`.

Expected: docs/results.md, through `recipes/meta_test.py`. Hardware: two cores (local preset).
"""

import functools
import hashlib
import json
import logging
import pathlib
import time

import few_shot_data
import group_flag
import keras
import numpy as np
from absl import app, flags

from keras_univrep import backbones, datasets, evaluation, models
from keras_univrep.callbacks import ProgressBar
from keras_univrep.optimizers import CoupledSGD

PRESETS = {
    # Chosen for two cores: one cosine without restarts, all from the largest domain's network.
    "local": {
        "backbone": {"class": "ResNet26", "width": 0.25, "end_activation": False},
        "size": 32, "augmentation": "crop_flip", "padding": None, "clip": 10.0, "from_trunk": True,
        "trunk": {"steps": 3000, "batch": 64, "rate": 0.1, "l2": 5e-4},
        "teacher": {"steps": 800, "batch": 64, "rate": 0.03, "l2": 5e-4},
        "joint": {"steps": 1500, "batch": 32, "trunk_batch": 96, "rate": 0.03, "l2": 1e-4,
                  "adapter_rate": 0.01},
    },
    # li2022 A.3 with table 14, and the released code: cosine with warm restarts, half of a batch
    # from ImageNet, no mirrors.
    "released": {
        "backbone": {"class": "ResNet18"},
        "size": 84, "augmentation": "crop_colour", "padding": 8, "clip": None, "from_trunk": False,
        "trunk": {"steps": 480000, "batch": 64, "rate": 0.03, "l2": 7e-4, "restart": 48000},
        "teacher": {"steps": 50000, "batch": 16, "rate": 0.03, "l2": 7e-4, "restart": 3000},
        "joint": {"steps": 240000, "batch": 64, "trunk_batch": 448, "rate": 0.03, "l2": 7e-4,
                  "restart": 48000, "adapter_rate": 0.1},
        "teachers": {
            "quickdraw": {"steps": 480000, "batch": 64, "rate": 0.01, "restart": 48000},
            "aircraft": {"batch": 8},
            "dtd": {"batch": 32, "restart": 1500},
            "fungi": {"steps": 480000, "batch": 32, "restart": 15000},
            "vgg_flower": {"batch": 8, "restart": 1500},
        },
    },
}  # fmt: skip
# li2022 A.3: lambda of ImageNet, and the fifths of the 240000 steps over which a domain's fades.
TRUNK_WEIGHT = 4.0
FIFTHS = {"ilsvrc_2012": 5, "omniglot": 2, "quickdraw": 2, "fungi": 2}
# The domain of Meta-Dataset in whose place a local one stands.
STANDS_FOR = {
    "mini_imagenet": "ilsvrc_2012", "omniglot28": "omniglot", "quickdraw8": "quickdraw",
    "dtd10": "dtd", "flowers17": "vgg_flower", "cub10": "cu_birds", "cars196": "aircraft",
}  # fmt: skip
SMOKE_TRAINING = {"steps": 2, "batch": 8, "trunk_batch": 8}
ROLES = ("trunk", "teacher", "joint", "teachers")
FEATURE_LOSSES = ["cka", "cka_linear", "normalized_l2", "cosine", "attention_transfer", "none"]

# Data
DOMAINS = flags.DEFINE_list("domains", None, "Some of the training domains; all by default.")
# Model
PRESET = flags.DEFINE_enum("preset", "local", list(PRESETS), "Backbone, image size, training.")
WIDTH = flags.DEFINE_float("width", None, "Factor of the channel numbers, if not the preset's.")
NAME = flags.DEFINE_string("name", "url", "Name of the universal network, for what follows.")
FEATURE_LOSS = flags.DEFINE_enum("feature_loss", "cka", FEATURE_LOSSES, "l_f of eq. 3.")
PREDICTION_LOSS = flags.DEFINE_boolean("prediction_loss", True, "Whether to have l_p of eq. 3.")
ADAPTER = flags.DEFINE_enum("adapter", "linear", ["linear", "nonlinear", "none"], "a of eq. 3.")
# Training
ONLY = flags.DEFINE_list("only", None, "Networks to train, by name; all by default.")
STEPS = {
    role: flags.DEFINE_integer(f"{role}_steps", None, "If not the preset's.")
    for role in ("trunk", "teacher", "joint")
}
FEATURE = flags.DEFINE_float("feature_weight", 1.0, "lambda_f; the largest domain's is 4 times it.")
PREDICTION = flags.DEFINE_float("prediction_weight", 1.0, "lambda_p, likewise.")
TEMPERATURE = flags.DEFINE_float("temperature", 4.0, "Temperature of the prediction loss.")
ANNEALING = flags.DEFINE_enum(
    "annealing", None, ["none", "linear", "domain"],
    "Fading of the distillation: over all steps, or for each domain at the paper's pace. By "
    "default none in the local preset, domain in the released one.",
)  # fmt: skip
VIEWS = flags.DEFINE_integer(
    "cache_views", 0, "Augment each image in so many fixed ways, so that teachers run only once."
)
SEED = flags.DEFINE_integer("seed", 0, "Seed of initialisation, order and augmentation.")
# Output
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A minute-long run that shows that all works.")


def load_domains(benchmark, size, chosen):
    """Returns the training domains by name, the largest one first."""
    known = list(few_shot_data.SEEN[benchmark])
    trunk, names = few_shot_data.TRUNKS[benchmark], list(chosen or known)
    if not {trunk} <= set(names) <= set(known):
        raise app.UsageError(
            f"--domains must name some of {known}, {trunk!r} among them. Received: {names}."
        )
    if benchmark == "five_domains":
        found = datasets.benchmark(benchmark)
    else:
        found = few_shot_data.open_domains(benchmark, size, names).train
    return {name: found[name] for name in sorted(names, key=lambda name: name != trunk)}


def make_plan(domains, groups, name, seed):
    """Returns the stages by the names of their networks; `mdl` has no teachers."""
    trunk = next(iter(domains))
    plan = models.distillation_plan(list(domains), groups, [trunk] if groups else (), seed)
    titles = {stage.name: f"sdl_{stage.name}" for stage in plan if stage.level == 0}
    titles |= {stage.name: f"{name}_{stage.name}" for stage in plan if stage.level > 0}
    titles[plan[-1].name] = name
    found = {}
    for stage in plan:
        kind = "sdl" if not stage.level else "url" if stage is plan[-1] else "group"
        teachers = {domain: titles[teacher] for domain, teacher in stage.teachers.items()}
        found[titles[stage.name]] = {"kind": kind, "domains": stage.domains, "teachers": teachers}
        if len(found) == len(domains):
            found["mdl"] = {"kind": "mdl", "domains": tuple(domains), "teachers": {}}
    return found


def make_network(backbone, classes, seed):
    """Returns a network of one or several domains whose first weights `seed` fixes."""
    keras.utils.set_random_seed(seed)
    options = {key: value for key, value in backbone.items() if key != "class"}
    backbone = getattr(backbones, backbone["class"])(name="backbone", **options)
    return models.MultiDomainModel(backbone, classes, name="network")


def make_schedule(settings, rate):
    """Returns learning rates: with warm restarts, or one cosine after a short warm-up."""
    schedules, steps = keras.optimizers.schedules, settings["steps"]
    if "restart" in settings:
        return schedules.CosineDecayRestarts(rate, settings["restart"], 1.0, 1.0)
    warmup = max(1, steps // 20)
    return schedules.CosineDecay(
        rate / 10, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
    )


def make_optimizer(settings):
    """Returns SGD with momentum and a true L2 penalty."""
    rates = make_schedule(settings, settings["rate"])
    return CoupledSGD(rates, momentum=0.9, l2=settings["l2"], global_clipnorm=settings["clip"])


def make_annealing(kind, domains, steps):
    """Returns the fading of the distillation terms, as `UniversalDistiller` takes it."""
    decay = keras.optimizers.schedules.PolynomialDecay
    if kind == "domain":
        return {
            n: decay(1.0, max(1, steps * FIFTHS.get(STANDS_FOR.get(n, n), 1) // 5), 0.0)
            for n in domains
        }
    return decay(1.0, steps, 0.0) if kind == "linear" else None


def make_distiller(student, teachers, trunk, settings):
    """Returns the student with its teachers, or their caches, and what trains it."""
    weight = {name: TRUNK_WEIGHT if name == trunk else 1.0 for name in teachers}
    loss = settings["feature_loss"]
    model = models.UniversalDistiller(
        student,
        teachers,
        feature_loss=None if loss == "none" else loss,
        temperature=settings["temperature"] if settings["prediction_loss"] else None,
        feature_weight={n: settings["feature_weight"] * w for n, w in weight.items()},
        prediction_weight={n: settings["prediction_weight"] * w for n, w in weight.items()},
        adapter=settings["adapter"],
        annealing=make_annealing(settings["annealing"], teachers, settings["steps"]),
    )
    rate = settings["adapter_rate"]
    if "restart" in settings:
        rate = make_schedule(settings, rate)
    return model, model.optimizer_groups(make_optimizer(settings), settings["steps"], rate)


def make_caches(stage, networks, views, kind, data, folder):
    """Returns what each teacher answers to its domain's views, computed once for all networks."""
    caches = {}
    for domain, teacher in stage["teachers"].items():
        key = hashlib.sha256(json.dumps([kind, data[domain]]).encode()).hexdigest()[:16]
        place = folder / "caches" / f"{teacher}_{domain}_{key}"
        if not (place / "logits.npy").exists():
            batches = views[domain].batches(256)
            models.cache_teacher(networks(teacher), batches, domain, place, "float16")
        caches[domain] = models.TeacherCache.open(place)
    return caches


def make_batches(mine, caches, views, settings, trunk, seed):
    """Returns a function of the first step that returns the batches from there on."""
    other = settings["batch"]
    batch = {n: settings.get("trunk_batch", other) if n == trunk else other for n in mine}

    def batches(first_step):
        if caches is not None:
            return datasets.taught_pipeline(views, caches, batch, seed, first_step)
        how = (settings["augmentation"], settings["padding"], seed, first_step)
        return datasets.endless_batches(mine, "train", batch, *how)

    return batches


def settings_of(name, stage, preset, distillation, trunk, seed):
    """Returns all that a network depends on."""
    common = {key: value for key, value in preset.items() if key not in ROLES}
    joint = stage["kind"] != "sdl"
    role = "joint" if joint else "trunk" if name == f"sdl_{trunk}" else "teacher"
    original = STANDS_FOR.get(stage["domains"][0], stage["domains"][0])
    special = preset.get("teachers", {}).get(original, {}) if role == "teacher" else {}
    start = f"sdl_{trunk}" if joint or (role == "teacher" and preset["from_trunk"]) else None
    del common["from_trunk"]
    taught = distillation if stage["teachers"] else {}
    return {**common, **preset[role], **special, **taught, "start": start, "seed": seed}


@functools.cache
def fingerprint(domain):
    """Returns what tells one state of the training images from another."""
    return datasets.domain_fingerprint(domain, "train", limit=1000)


def check_teachers(stage, settings, folder):
    """Refuses teachers that were trained on other images."""
    for domain, teacher in stage["teachers"].items():
        path = folder / teacher / "settings.json"
        kept = json.loads(path.read_text()) if path.exists() else settings
        if kept["data"][domain] != settings["data"][domain]:
            raise app.UsageError(
                f"{teacher} must have been trained on these images of {domain!r}. Received: others "
                "in --data_dir or --folder. Choose another --output_dir."
            )


def train_network(name, stage, domains, networks, settings, folder):
    """Trains one network; leaves its file, and an entry for `networks.json` in its folder."""
    trunk, start, steps = next(iter(domains)), time.time(), settings["steps"]
    mine = {domain: domains[domain] for domain in stage["domains"]}
    classes = {n: domain.num_classes for n, domain in mine.items()}
    network = make_network(settings["backbone"], classes, settings["seed"])
    if settings["start"] is not None:
        network.initialize_from(networks(settings["start"]))
    model, optimizer, views, caches = network, make_optimizer(settings), None, None
    if stage["teachers"]:
        teachers = {n: networks(teacher) for n, teacher in stage["teachers"].items()}
        if settings["cache_views"]:
            kind = [settings[k] for k in ("cache_views", "augmentation", "padding", "seed")]
            views = {n: datasets.FixedViews(d, "train", *kind) for n, d in mine.items()}
            teachers = caches = make_caches(stage, networks, views, kind, settings["data"], folder)
        model, optimizer = make_distiller(network, teachers, trunk, settings)
    model.compile(optimizer)
    per_epoch = 50 if steps % 50 == 0 else steps
    batches = make_batches(mine, caches, views, settings, trunk, settings["seed"])
    bar = ProgressBar(name, per_epoch, steps // per_epoch)
    models.resumable_fit(model, batches, steps, folder / name, per_epoch, [bar])
    entry = {
        "file": f"{name}.keras",
        "kind": stage["kind"],
        "domains": classes,
        **settings,
        "seconds": round(time.time() - start, 1),
        "training": measure(network, mine),
    }
    network.save(folder / name / "partial.keras", include_optimizer=False)
    (folder / name / "network.json").write_text(json.dumps(entry, indent=2))
    # The file comes last: where it is, the network is finished.
    (folder / name / "partial.keras").replace(folder / entry["file"])


def list_networks(folder):
    """Writes and returns `networks.json`, from what the folders of finished networks say."""
    found = {}
    for path in sorted(folder.glob("*/network.json")):
        if (folder / f"{path.parent.name}.keras").exists():
            found[path.parent.name] = json.loads(path.read_text())
    partial = folder / f"networks.{time.time_ns()}.partial"
    partial.write_text(json.dumps(found, indent=2) + "\n")
    partial.replace(folder / "networks.json")
    return found


def measure(network, domains):
    """Returns the accuracy of each domain in per cent, on held-out images where there are any."""
    found = {}
    for name, domain in domains.items():
        split = "validation" if "validation" in domain.splits else "train"
        accuracy = evaluation.domain_accuracy(network, {name: domain}, split)[name]
        found[name] = {"split": split, "accuracy": round(accuracy, 2)}
    return found


def make_table(networks):
    """Returns a row for all teachers together, then one for each network."""
    rows = {}
    for name, entry in networks.items():
        title = "SDL" if entry["kind"] == "sdl" else name
        row = rows.setdefault(title, {"method": title})
        row |= {domain: result["accuracy"] for domain, result in entry["training"].items()}
    for row in rows.values():
        row["mean"] = round(float(np.mean([v for k, v in row.items() if k != "method"])), 2)
    return sorted(rows.values(), key=lambda row: row["method"] != "SDL")


def run(domains, plan, only, preset, distillation, output_dir, seed):
    """Trains what is asked for and not there yet; returns the table of all that is there."""
    start, folder, opened = time.time(), pathlib.Path(output_dir), {}

    def networks(name):
        if name not in opened:
            path = folder / f"{name}.keras"
            if not path.exists():
                raise app.UsageError(f"{name} must be trained first: --only={name}.")
            opened[name] = keras.saving.load_model(path, compile=False)
        return opened[name]

    for name in only or plan:
        trunk = next(iter(domains))
        settings = settings_of(name, plan[name], preset, distillation, trunk, seed)
        settings["data"] = {d: fingerprint(domains[d]) for d in plan[name]["domains"]}
        check_teachers(plan[name], settings, folder)
        evaluation.keep_settings(folder / name, {**plan[name], **settings})
        if not (folder / f"{name}.keras").exists():
            train_network(name, plan[name], domains, networks, settings, folder)
            # Teachers were frozen; the next network opens what it needs.
            opened.clear()
            keras.utils.clear_session(free_memory=True)
        list_networks(folder)
    found = list_networks(folder)
    table = make_table(found)
    columns = dict.fromkeys(column for row in table for column in row)
    filled = [{column: row.get(column, "") for column in columns} for row in table]
    evaluation.show_table(filled, "Accuracy in the training classes (per cent)", 160)
    evaluation.write_results(
        folder / "results.json", table, seed, time.time() - start, networks=found
    )
    return table


def main(_):
    # One compiled function a network and domain is what is wanted here, and no reason to warn.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    preset, benchmark = {**PRESETS[PRESET.value]}, few_shot_data.benchmark(SMOKE.value)
    for role, flag in STEPS.items():
        steps = dict(SMOKE_TRAINING) if SMOKE.value else {}
        steps |= {} if flag.value is None else {"steps": flag.value}
        preset[role] = {**preset[role], **steps}
        if role == "teacher" and "teachers" in preset:
            preset["teachers"] = {n: {**own, **steps} for n, own in preset["teachers"].items()}
    if WIDTH.value is not None:
        preset["backbone"] = {**preset["backbone"], "width": WIDTH.value}
    distillation = {
        "feature_loss": FEATURE_LOSS.value,
        "prediction_loss": PREDICTION_LOSS.value,
        "adapter": ADAPTER.value,
        "feature_weight": FEATURE.value,
        "prediction_weight": PREDICTION.value,
        "temperature": TEMPERATURE.value,
        "annealing": ANNEALING.value or ("none" if PRESET.value == "local" else "domain"),
        "cache_views": VIEWS.value,
    }
    domains = load_domains(benchmark, preset["size"], DOMAINS.value)
    plan = make_plan(domains, group_flag.read_groups(domains), NAME.value, SEED.value)
    unknown = sorted(set(ONLY.value or ()) - set(plan))
    if unknown:
        raise app.UsageError(f"--only must name some of {list(plan)}. Received: {unknown}.")
    run(domains, plan, ONLY.value, preset, distillation, OUTPUT.value, SEED.value)


if __name__ == "__main__":
    app.run(main)
