"""Distils single-domain teachers into one universal network, beside its baselines.

Paper: Li, Liu, Bilen, "Universal representations" (li2022), section 4.2 and the rows "Finetune",
"MDL", "Ours" and "Ours (RA)" of table 6, on the five real domains that ship with the package, or
on the nine of `datasets.decathlon_local`, at 32x32 pixels instead of the Visual Decathlon's 72.

    python recipes/distill_universal.py --output_dir=runs/demo                  # 10 minutes
    python recipes/distill_universal.py --output_dir=runs/long --preset=long    # hours
    python recipes/distill_universal.py --output_dir=runs/smoke --smoke         # one minute
    python recipes/distill_universal.py --output_dir=runs/vdd_url --preset=long \\
        --benchmark=decathlon_local --data_dir=...
    ... --groups='group 1'                                      # section 5.4; or --groups=3

As in the paper, the network of the largest domain (there ImageNet, here Omniglot or tiny_imagenet)
is trained from scratch, and the other teachers, the multi-domain network (MDL) and the universal
networks start from it. The demo takes its five teachers from the package, where a run of the long
preset put them; it trains the MDL baseline, the universal network and its form with residual
adapters for the same number of steps, and reads the test splits once, at the end.

Expected: docs/results.md. Hardware: two cores. A killed run goes on where it was when the same
command is given again.
"""

import json
import logging
import pathlib
import time

import group_flag
import keras
import numpy as np
from absl import app, flags

from keras_univrep import applications, datasets, evaluation, losses, metrics, models, plotting
from keras_univrep.callbacks import ProgressBar
from keras_univrep.evaluation.domain_batches import spread
from keras_univrep.optimizers import CoupledSGD

# Steps of each stage; a stage of 0 steps takes the teachers that ship with the package.
PRESETS = {
    "demo": {"trunk": 0, "teacher": 0, "joint": 400},
    "long": {"trunk": 4000, "teacher": 1000, "joint": 1000},
    "smoke": {"trunk": 2, "teacher": 2, "joint": 2},
}
# Whose network the others start from, and what comes first.
TRUNKS = {"five_domains": "omniglot", "decathlon_local": "tiny_imagenet"}
SMOKE_DOMAINS = ["omniglot", "signdigits"]
# What decathlon_local has in the place of the Visual Decathlon's domains, for the paper's groups.
STAND_INS = {
    "imagenet12": "tiny_imagenet", "cifar100": "cifar100", "daimlerpedcls": "daimlerpedcls",
    "dtd": "dtd10", "gtsrb": "gtsrb", "vgg-flowers": "flowers17", "omniglot": "omniglot28",
    "svhn": "chars74k36", "ucf101": "ucf101_subset",
}  # fmt: skip
# Images of a domain in a joint step; its teacher is trained with 32 at least.
BATCH = {
    "eurosat": 32, "letters": 64, "omniglot": 128, "quickdraw": 64, "signdigits": 32,
    "tiny_imagenet": 64, "cifar100": 48, "gtsrb": 32, "daimlerpedcls": 16, "dtd10": 16,
    "flowers17": 16, "omniglot28": 64, "ucf101_subset": 16, "chars74k36": 32,
}  # fmt: skip
METHODS = {
    "MDL": {"adapter": None, "distil": False},
    "Universal": {"adapter": None, "distil": True},
    "Universal (RA)": {"adapter": "parallel", "distil": True},
}
FOLDERS = {"MDL": "mdl", "Universal": "universal", "Universal (RA)": "universal_ra"}

# Data
BENCHMARK = flags.DEFINE_enum("benchmark", "five_domains", list(TRUNKS), "Which domains.")
DATA = flags.DEFINE_string("data_dir", None, "Folder of decathlon_local's sets.")
DOMAINS = flags.DEFINE_list("domains", None, "Some of them, the largest among them; else all.")
SPLIT = flags.DEFINE_enum("split", "test", ["validation", "test"], "What the table is read on.")
# Model
WIDTH = flags.DEFINE_float("width", 0.25, "Factor of ResNet-26's channel numbers.")
METHOD = flags.DEFINE_multi_enum("method", list(METHODS), list(METHODS), "What to train.")
# Training
PRESET = flags.DEFINE_enum("preset", "demo", list(PRESETS), "Steps of each stage.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of initialisation, order and augmentation.")
STEPS = flags.DEFINE_integer("joint_steps", None, "Steps of each method, if not the preset's.")
RATE = flags.DEFINE_float("learning_rate", 0.03, "Highest rate of the joint trainings.")
FEATURE = flags.DEFINE_float("feature_weight", 1.0, "lambda_f of li2022 eq. 3.")
PREDICTION = flags.DEFINE_float("prediction_weight", 1.0, "lambda_p of li2022 eq. 3.")
TEMPERATURE = flags.DEFINE_float("temperature", 4.0, "Temperature of the prediction loss.")
ANNEAL = flags.DEFINE_boolean("anneal", False, "Let the distillation fade to 0, as released.")
TEACHERS = flags.DEFINE_string("teachers_dir", None, "Where teachers are kept; else output_dir.")
# Output
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A minute-long run that shows that all works.")


def make_model(num_classes, width, adapter, seed):
    """Returns a network of one or several domains whose first weights `seed` fixes."""
    keras.utils.set_random_seed(seed)
    return applications.UniversalResNet26(
        None, num_classes, width=width, adapter=adapter, end_activation=False
    )


def cosine_sgd(steps, rate, l2):
    """Returns SGD with momentum: a short warm-up to `rate`, then a cosine to zero."""
    warmup = max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 10, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
    )
    return CoupledSGD(schedule, momentum=0.9, l2=l2, global_clipnorm=10.0)


def train(model, network, title, domains, batch, steps, folder, seed, **settings):
    """Trains `network` as, or inside, a compiled model; returns the seconds that it took.

    A stage that has finished is not run again, and one that was killed goes on; a folder that
    holds a stage of other settings is left as it is.
    """
    folder = pathlib.Path(folder)
    evaluation.keep_settings(folder, {"stage": title, "steps": steps, "seed": seed, **settings})
    finished = folder / "finished.json"
    if finished.exists():
        if network is model:  # whose file holds the optimizer's state too
            model.optimizer.build(model.trainable_variables)
        network.load_weights(folder / "network.weights.h5")
        return json.loads(finished.read_text())["seconds"]
    start = time.time()
    per_epoch = 50 if steps % 50 == 0 else steps

    def batches(first_step):
        return datasets.endless_batches(domains, "train", batch, seed=seed, first_step=first_step)

    bar = ProgressBar(title, per_epoch, steps // per_epoch)
    models.resumable_fit(model, batches, steps, folder, per_epoch, [bar])
    seconds = time.time() - start
    network.save_weights(folder / "network.weights.h5", overwrite=True)
    finished.write_text(json.dumps({"seconds": seconds}))
    return seconds


def train_teachers(domains, trunk, steps, width, folder, seed):
    """Trains one network a domain, that of `trunk` from scratch and the others from it."""
    teachers, seconds = {}, 0.0
    trunk_steps, teacher_steps = steps["trunk"], steps["teacher"]
    for name in sorted(domains, key=lambda name: name != trunk):
        domain = domains[name]
        first = name == trunk
        teacher = make_model({name: domain.num_classes}, width, None, seed)
        if not first:
            teacher.initialize_from(teachers[trunk])
        count = trunk_steps if first else teacher_steps
        teacher.compile(cosine_sgd(count, 0.1 if first else 0.03, l2=5e-4))
        seconds += train(
            teacher, teacher, f"teacher {name}", {name: domain}, max(32, BATCH[name]), count,
            folder / f"teacher_{name}", seed, width=width,
        )  # fmt: skip
        teachers[name] = teacher
    return teachers, seconds


def train_groups(groups, domains, teachers, trunk, steps, folder, seed, settings):
    """Returns for each domain the network that teaches the universal one, and the seconds.

    That is its group's network, which is distilled from the teachers first, or its own teacher.
    """
    if groups is None:
        return teachers, 0.0
    plan = models.distillation_plan(list(domains), groups, [trunk], seed)
    networks, seconds = dict(teachers), 0.0
    for stage in plan:
        if 0 < stage.level and stage is not plan[-1]:
            networks[stage.name], taken = train_method(
                "Universal", {name: domains[name] for name in stage.domains},
                {name: networks[teacher] for name, teacher in stage.teachers.items()},
                teachers[trunk], steps, folder / stage.name, seed, settings,
            )  # fmt: skip
            seconds += taken
    return {name: networks[teacher] for name, teacher in plan[-1].teachers.items()}, seconds


def train_method(method, domains, teachers, first, steps, folder, seed, settings):
    """Trains one network of all domains from the network `first`, with or without the teachers."""
    num_classes = {name: domain.num_classes for name, domain in domains.items()}
    width = first.backbone.width
    student = make_model(num_classes, width, METHODS[method]["adapter"], seed)
    student.initialize_from(first)
    optimizer = cosine_sgd(steps, settings["learning_rate"], l2=1e-4)
    model = student
    if METHODS[method]["distil"]:
        fade = keras.optimizers.schedules.PolynomialDecay(1.0, steps, 0.0)
        model = models.UniversalDistiller(
            student,
            teachers,
            temperature=settings["temperature"],
            feature_weight=settings["feature_weight"],
            prediction_weight=settings["prediction_weight"],
            annealing=fade if settings["anneal"] else None,
        )
        optimizer = model.optimizer_groups(optimizer, steps)
    model.compile(optimizer)
    batch = {name: BATCH[name] for name in domains}
    seconds = train(
        model, student, method, domains, batch, steps, folder, seed, width=width, **settings
    )
    return student, seconds


def single_domain_row(teachers, domains, split, seconds):
    """Returns the table row, and the accuracies, of one teacher a domain."""
    accuracies = {
        name: evaluation.domain_accuracy(teachers[name], {name: domain}, split)[name]
        for name, domain in domains.items()
    }
    size = sum(teacher.backbone.count_params() for teacher in teachers.values())
    return accuracies, row("Single-domain", accuracies, accuracies, size, teachers, seconds)


def row(method, accuracies, reference, size, teachers, seconds):
    """Returns one row of the table."""
    backbone = next(iter(teachers.values())).backbone.count_params()
    return {
        "method": method,
        **{name: round(value, 2) for name, value in accuracies.items()},
        "mean": round(float(np.mean(list(accuracies.values()))), 2),
        "score": round(metrics.decathlon_score(accuracies, reference), 1),
        "delta_mdl": round(metrics.delta_mdl(accuracies, reference), 2),
        "parameters": round(metrics.parameter_ratio(size, backbone), 3),
        "seconds": round(seconds, 1),
    }


def draw(students, teachers, domains, folder):
    """Draws neighbours across domains, and how similar each network is to the teachers."""
    universal = students.get("Universal") or next(iter(students.values()))
    features, images, similarity = {}, {}, {method: {} for method in students}
    for name, domain in domains.items():
        images[name] = domain.arrays("test")[0][spread(domain.size("test"), 250)]
        features[name] = evaluation.domain_features(universal, domain, "test", limit=250)
        target = evaluation.domain_features(teachers[name], domain, "test", limit=250)
        for method, student in students.items():
            own = evaluation.domain_features(student, domain, "test", limit=250)
            similarity[method][name] = 1.0 - float(losses.CKA()(target, own))
    queries = [(name, (10 + 30 * i) % len(images[name])) for i, name in enumerate(domains)]
    plotting.plot_neighbours(folder / "neighbours.png", images, features, queries)
    plotting.plot_similarity(
        folder / "similarity.png", similarity, "CKA with each domain's teacher, test images"
    )


def run(
    domains, trunk, split, width, methods, steps, settings, teachers_dir, output_dir, seed, groups
):  # fmt: skip
    """Trains, evaluates, draws and writes; returns the table."""
    start = time.time()
    folder = pathlib.Path(output_dir)
    if steps["trunk"]:
        teachers, seconds = train_teachers(domains, trunk, steps, width, teachers_dir, seed)
    else:
        seconds = 0.0
        teachers = {
            name: applications.UniversalResNet26(f"five_domains_teacher_{name}") for name in domains
        }
    if groups is not None:
        settings = {**settings, "groups": groups}
    guides, first = train_groups(
        groups, domains, teachers, trunk, steps["joint"], folder, seed, settings
    )
    students, times = {}, {}
    for method in methods:
        students[method], times[method] = train_method(
            method, domains, guides, teachers[trunk], steps["joint"], folder / FOLDERS[method],
            seed, settings,
        )  # fmt: skip
        times[method] += first if METHODS[method]["distil"] else 0.0
    reference, singles = single_domain_row(teachers, domains, split, seconds)
    table = [singles]
    for method, student in students.items():
        accuracies = evaluation.domain_accuracy(student, domains, split)
        table.append(
            row(
                method,
                accuracies,
                reference,
                student.backbone.count_params(),
                teachers,
                times[method],
            )
        )
        student.save(folder / f"{FOLDERS[method]}.keras")
    draw(students, teachers, domains, folder)
    evaluation.show_table(table, "Accuracy (per cent) and what it costs", 140)
    evaluation.write_results(
        folder / "results.json", table, seed, time.time() - start,
        split=split, steps=steps, settings=settings,
    )  # fmt: skip
    return table


def main(_):
    # One compiled function a network and domain is what is wanted here, and no reason to warn.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    steps = dict(PRESETS["smoke" if SMOKE.value else PRESET.value])
    if STEPS.value is not None:
        steps["joint"] = STEPS.value
    settings = {
        "learning_rate": RATE.value,
        "feature_weight": FEATURE.value,
        "prediction_weight": PREDICTION.value,
        "temperature": TEMPERATURE.value,
        "anneal": ANNEAL.value,
    }
    benchmark, trunk = BENCHMARK.value, TRUNKS[BENCHMARK.value]
    if benchmark != "five_domains" and not steps["trunk"]:
        raise app.UsageError(
            f"The package has no teachers of {benchmark!r}: --preset must be 'long', which trains "
            f"them. Received: --preset={PRESET.value}."
        )
    known = datasets.benchmark(benchmark, DATA.value)
    small = SMOKE_DOMAINS if SMOKE.value and benchmark == "five_domains" else list(known)
    chosen = DOMAINS.value or small
    if not {trunk} <= set(chosen) <= set(known):
        raise app.UsageError(
            f"--domains must name some of {list(known)}, {trunk!r} among them. Received: {chosen}."
        )
    domains = {name: known[name] for name in chosen}
    run(
        domains, trunk, SPLIT.value, WIDTH.value, METHOD.value, steps, settings,
        pathlib.Path(TEACHERS.value or OUTPUT.value), OUTPUT.value, SEED.value,
        group_flag.read_groups(domains, STAND_INS if benchmark == "decathlon_local" else None),
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
