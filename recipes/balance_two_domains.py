"""Trains one network that is multi-task and multi-domain at once: rooms and streets.

Paper: Li, Liu, Bilen, "Universal representations" (li2022), which has several tasks in one domain
(section 5.1) or one task in several domains (5.2), and names both at once as future work. Here one
network learns segmentation, depth and normals of rooms (`datasets.nyu_local`) and segmentation of
streets with other classes (`datasets.camvid`): its trunk sees the images of both as one batch, each
head those of its domain. Single-task networks of each domain (STL) are its teachers and what
Delta_MTL is measured against; rows of the table are joint training under a balancer, and the
universal network that is distilled from all teachers (URL).

    python recipes/balance_two_domains.py --data_dir=... --output_dir=runs/two_domains
    python recipes/balance_two_domains.py --output_dir=runs/smoke --smoke

Flags are those of `recipes/balance_nyu.py`; a method is the name of a balancer, "URL", or "URL+"
and the name of a balancer. What is there is not trained again, and a killed run goes on where it
was when the same command is given again. The test split is read once for each network.

Expected: docs/results.md. Hardware: two cores, about a quarter of an hour a joint network.
"""

import json
import logging
import pathlib
import time

import balance_nyu
import keras
import numpy as np
from absl import app, flags

from keras_univrep import backbones, datasets, evaluation, metrics, models, plotting
from keras_univrep.callbacks import ProgressBar

# The flags of `balance_nyu` are this program's, too.
flags.FLAGS.set_default("method", ["uniform", "URL"])
STREETS = flags.DEFINE_string("camvid_dir", None, "Folder with camvid; --data_dir by default.")


def load(settings, smoke):
    """Returns the two domains, at one size, with splits for training, selection and test."""
    size = tuple(settings["size"])
    data_dir = balance_nyu.DATA.value
    if smoke and data_dir is None:
        return made_up(size)
    rooms = balance_nyu.load(
        balance_nyu.LAYOUT.value, data_dir, balance_nyu.CACHE.value, settings["size"], smoke
    )
    streets = datasets.camvid(STREETS.value or data_dir)
    return {"nyu": rooms, "camvid": datasets.resize_dense(streets, size)}


def made_up(size):
    """Returns what a smoke run needs of data sets: noise, with few tasks and other classes."""
    rooms = datasets.random_rooms((size[0], size[1]))

    def part(name, tasks, classes):
        return datasets.DenseDomain(
            name=name,
            tasks={task: task for task in tasks},
            class_names={"segmentation": classes},
            image_shape=rooms.image_shape,
            splits={
                split: (images, {task: targets[task] for task in tasks})
                for split, (images, targets) in rooms.splits.items()
            },
        )

    return {
        "nyu": part("rooms", ["segmentation", "depth"], ("wall", "floor", "other")),
        "camvid": part("streets", ["segmentation"], ("road", "car", "tree", "sky")),
    }


def tasks_of(domains):
    """Returns the tasks of all domains, `{name: (domain, its own name there)}`."""
    return {
        f"{name}_{task}": (name, task) for name, domain in domains.items() for task in domain.tasks
    }


def build(kind, width, domains, chosen):
    """Returns a network of the chosen tasks, whatever their domains."""
    tasks = {task: tasks_of(domains)[task] for task in chosen}
    channels = {task: domains[name].channels[own] for task, (name, own) in tasks.items()}
    normals = [task for task, (name, own) in tasks.items() if domains[name].tasks[own] == "normals"]
    return balance_nyu.BACKBONES[kind](channels, width=width, normalized=normals)


def universal(settings, domains):
    """Returns the network of all tasks of all domains."""
    tasks = tasks_of(domains)
    kind = settings["backbone"]
    of_domain = {name: [t for t, (of, _) in tasks.items() if of == name] for name in domains}
    return backbones.MultiDomainNetwork(
        build(kind, settings["width"], domains, tasks), of_domain, balance_nyu.LAYERS[kind]
    )


def distilled(network, teachers, domains, settings):
    """Returns the network with what pulls it towards the teachers of all domains."""
    layers = balance_nyu.LAYERS[settings["backbone"]]
    last = layers[-1 if "features" in layers else 0]
    weights = {task: balance_nyu.WEIGHTS[own] for task, (_, own) in tasks_of(domains).items()}
    return models.DenseDistiller(
        network, teachers, student_layers=network.map_names, inputs=network.domain_of,
        teacher_layers=layers if settings["match"] == "each" else last,
        feature_loss=settings["feature_loss"], adapter=settings["adapter"],
        feature_weight={task: settings["distillation"] * weights[task] for task in teachers},
    )  # fmt: skip


def measure(network, domains, chosen, split, batch):
    """Returns the metrics of each task on a whole split of its domain."""
    tasks = {task: tasks_of(domains)[task] for task in chosen}
    found = {}
    for name in {name for name, _ in tasks.values()}:
        domain = domains[name]
        own = {task: kind for task, (of, kind) in tasks.items() if of == name}
        single = network.of_domain(name) if hasattr(network, "of_domain") else network
        known = {
            task: balance_nyu.task_metrics([kind], domain.channels.get("segmentation"))[kind]
            for task, kind in own.items()
        }
        batches = datasets.dense_pipeline(domain, split, batch, tasks=list(own.values()))
        for images, targets in batches:
            outputs = single.predict_on_batch(np.asarray(images))
            for task, kind in own.items():
                for metric in known[task]:
                    metric.update_state(np.asarray(targets[kind]), outputs[task])
        for task, kind in own.items():
            columns = zip(known[task], balance_nyu.COLUMNS[kind], strict=True)
            found[task] = [
                # mIoU and the relative error come as fractions, as `balance_nyu.measure` says.
                round(float(m.result()) * (100 if column in ("mIoU", "rel. error") else 1), 4)
                for m, (column, _) in columns
            ]
    return {task: found[task] for task in chosen}


def train(make, balancer, domains, chosen, settings, folder, title, seed):
    """Returns a trained network of some tasks and what was measured.

    `make` returns the network and what the balancer trains: the same, or a distiller around it.
    """
    known = balance_nyu.finished(folder)
    if known is not None:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    network, trained = make()
    # Each domain has a part of each map.
    ends = [f"{end}_{of}" for end in balance_nyu.SHARED.get(settings["backbone"], ())
            for of in domains]  # fmt: skip
    logs = settings["log_cosines"] and len(chosen) > 1
    model = balance_nyu.multi_task_model(trained, balancer, ends, logs)
    tasks = {task: tasks_of(domains)[task] for task in chosen}
    model.compile(
        balance_nyu.adam(settings["rate"], settings["steps"]),
        {task: balance_nyu.task_losses([own])[own] for task, (_, own) in tasks.items()},
        balancer=balancer,
        # On processors XLA's convolutions are several times slower than TensorFlow's own.
        jit_compile=keras.backend.backend() == "jax",
    )
    several = hasattr(network, "of_domain")

    def batches(first_step):
        joint = datasets.join_dense_pipelines({
            name: datasets.dense_pipeline(
                domains[name], "train", settings["batch"], True, seed=seed, first_step=first_step,
                tasks=[own for of, own in tasks.values() if of == name],
            )
            for name in dict.fromkeys(name for name, _ in tasks.values())
        })  # fmt: skip
        if several:
            return joint
        return joint.map(lambda images, targets: (next(iter(images.values())), targets))

    bar = ProgressBar(title, settings["epoch"], settings["steps"] // settings["epoch"])
    models.resumable_fit(
        model, batches, settings["steps"], folder / "training", settings["epoch"], [bar]
    )
    network.save(folder / "partial.keras", overwrite=True)
    found = {split: measure(network, domains, chosen, split, settings["batch"])
             for split in ("validation", "test")}  # fmt: skip
    (folder / "measured.json").write_text(json.dumps(found))
    (folder / "partial.keras").replace(folder / "network.keras")
    balance_nyu.draw_conflict(folder, title)
    return network, found


def run(domains, methods, settings, folder, seed):
    """Returns what was measured of each method, the networks and the teachers."""
    kind = balance_nyu.SINGLE.get(settings["backbone"], settings["backbone"])
    teachers, found, networks = {}, {"STL": {"validation": {}, "test": {}}}, {}
    for task in tasks_of(domains):

        def single(task=task):
            network = build(kind, settings["width"], domains, [task])
            return network, network

        teachers[task], measured = train(
            single, "uniform", domains, [task], settings, folder / f"stl_{task}",
            f"single-task {task}, seed {seed}", seed,
        )  # fmt: skip
        for split, values in measured.items():
            found["STL"][split] |= values
    for method in methods:
        goal, _, balancer = ("URL", "", "uniform") if method == "URL" else method.rpartition("+")

        def joint(goal=goal):
            network = universal(settings, domains)
            taught = distilled(network, teachers, domains, settings) if goal else network
            return network, taught

        networks[method], found[method] = train(
            joint, balancer, domains, list(tasks_of(domains)), settings,
            folder / method.replace("+", "_"), f"{method}, seed {seed}", seed,
        )  # fmt: skip
    return found, networks, teachers


def table_of(found, split, domains):
    """Returns a row for each method of one seed."""
    tasks, columns = tasks_of(domains), balance_nyu.COLUMNS
    single = {task: values[0] for task, values in found["STL"][split].items()}
    rows = []
    for method, measured in found.items():
        line = {"method": method}
        for task, values in measured[split].items():
            for (name, _), value in zip(columns[tasks[task][1]], values, strict=True):
                line[f"{task}, {name}"] = round(value, 3)
        # All tasks count alike, whatever their domain; and those of each domain on their own.
        groups = {"Delta_MTL": list(tasks)}
        groups |= {f"Delta, {n}": [t for t in tasks if tasks[t][0] == n] for n in domains}
        for title, group in groups.items():
            line[title] = round(
                metrics.delta_mtl(
                    {task: measured[split][task][0] for task in group},
                    {task: single[task] for task in group},
                    {task: columns[tasks[task][1]][0][1] for task in group},
                ),
                2,
            )
        rows.append(line)
    return rows


def draw(domains, networks, teachers, count, folder):
    """Draws predictions of all methods on some test images of each domain."""
    for name, domain in domains.items():
        own = {task: kind for task, (of, kind) in tasks_of(domains).items() if of == name}
        images, targets = domain.arrays("test")
        # Spread over the split, as neighbours show the same place.
        chosen = np.linspace(0, len(images) - 1, count).astype(int)
        shown = images[chosen].astype("float32") / 255.0
        outputs = {method: net.of_domain(name).predict_on_batch(shown)
                   for method, net in networks.items()}  # fmt: skip
        outputs["STL"] = {task: teachers[task].predict_on_batch(shown)[task] for task in own}
        plotting.plot_dense_maps(
            folder / f"maps_{name}.png", images[chosen],
            {kind: targets[kind][chosen] for kind in own.values()},
            {
                method: {kind: outputs[method][task] for task, kind in own.items()}
                for method in ("STL", *networks)
            },
            class_names=domain.class_names["segmentation"],
        )  # fmt: skip


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start, smoke = time.time(), balance_nyu.SMOKE.value
    given = balance_nyu.METHOD
    methods = ["URL"] if smoke and not given.present else given.value
    balance_nyu.check_methods(methods, with_ends=["segnet"])
    if any(method.startswith("BAM") for method in methods):
        raise app.UsageError("--method must be a balancer, URL, or URL+ and a balancer here.")
    settings = dict(balance_nyu.PRESETS["smoke" if smoke else balance_nyu.PRESET.value])
    settings |= {
        "steps": balance_nyu.STEPS.value or settings["steps"],
        "rate": balance_nyu.RATE.value or settings["rate"],
        "backbone": balance_nyu.BACKBONE.value,
        "width": 0.0625 if smoke else balance_nyu.WIDTH.value,
        "feature_loss": balance_nyu.FEATURE_LOSS.value,
        "adapter": balance_nyu.ADAPTER.value,
        "match": balance_nyu.MATCH.value,
        "distillation": balance_nyu.DISTILLATION.value,
    }
    folder = pathlib.Path(balance_nyu.OUTPUT.value)
    evaluation.keep_settings(folder, settings)
    settings["log_cosines"] = balance_nyu.COSINES.value
    domains = load(settings, smoke)
    tables = {"validation": [], "test": []}
    seeds = balance_nyu.SEED.value
    for seed in seeds:
        found, networks, teachers = run(domains, methods, settings, folder / f"seed{seed}", seed)
        for split, rows in tables.items():
            rows.append(table_of(found, split, domains))
        draw(domains, networks, teachers, balance_nyu.PICTURES.value, folder / f"seed{seed}")
    averaged = {split: balance_nyu.means(rows) for split, rows in tables.items()}
    evaluation.show_table(averaged["validation"], "Validation", 200)
    evaluation.show_table(averaged["test"], "Test", 200)
    evaluation.write_results(
        folder / "results.json", averaged["test"], seeds[0], time.time() - start,
        validation=averaged["validation"], seeds=seeds, **settings,
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
