"""Tests networks on few-shot episodes of seen and unseen domains.

Paper: Li, Liu, Bilen, "Universal representations" (li2022), section 5.3, tables 7, 14 to 16 and 20:
single-domain networks (SDL), one network of all domains (MDL) and the universal network (URL), each
with the nearest centroid or after pre-classifier alignment, on 600 episodes a domain, the same ones
for all methods; on `datasets.meta_local`, or with `--benchmark=meta_dataset` on Meta-Dataset
(`few_shot_data.py` says how to name its images).

    python recipes/meta_test.py --networks_dir=runs/url --data_dir=... --output_dir=runs/meta_test
    ... --protocol=five_way_one_shot --protocol=varying_way_five_shot           # table 16
    ... --classifier=ncc --classifier=scm --classifier=knn --classifier=svm     # table 15
    ... --classifier=sur --classifier=urt                                       # of all SDL
    python recipes/meta_test.py --output_dir=runs/smoke --smoke

`--networks_dir` is what `recipes/train_url.py` leaves. "Best SDL" takes for each domain the network
that is best in its validation episodes (nearest centroid); for a domain without them the one that
is best on the mean of all. The paper takes the best of the test episodes. Each network sees each
image once: its features are kept in `features/`, and episodes gather from them. Episodes of varying
size run some at a time, those of similar size together. What is measured is kept in `measured/` and
not measured again, so a killed run goes on when the command is repeated.

SUR and URT weigh the features of all single-domain networks. URT learns its attention (published
rate and schedule) on validation episodes, each of a random domain with its own, because on training
images every network knows the classes of its domain; the paper trained it on training classes.

Expected: docs/results.md. Hardware: two cores.
"""

import hashlib
import json
import logging
import pathlib
import time

import few_shot_data
import keras
import numpy as np
import rich.progress
from absl import app, flags

from keras_univrep import backbones, datasets, evaluation, few_shot, models, plotting

PROTOCOLS = ["varying_way_varying_shot", "five_way_one_shot", "varying_way_five_shot"]
SMOKE_NETWORKS = {
    "sdl_quickdraw": ("sdl", ["quickdraw"]),
    "sdl_signdigits": ("sdl", ["signdigits"]),
    "mdl": ("mdl", ["quickdraw", "signdigits"]),
    "url": ("url", ["quickdraw", "signdigits"]),
}
BEST, OF_ALL = "Best SDL", "all SDL"
JOINT = ["sur", "urt"]
BLOCK = 25

# Data
NETWORKS = flags.DEFINE_string("networks_dir", None, "Folder that recipes/train_url.py left.")
DOMAINS = flags.DEFINE_list("domains", None, "Domains to test on; all by default.")
# Model
SIZE = flags.DEFINE_integer("size", None, "Side of the images; by default the networks'.")
CLASSIFIERS = flags.DEFINE_multi_enum(
    "classifier", ["ncc", "pa"],
    ["ncc", "ncc_euclidean", "ncc_dot", "ncc_correlation", "pa", "pa_seen", "pa_unseen",
     "pa_cross_validated", "transductive", "scm", "knn", "lr", "svm", "sur", "urt"],
    "pa: alignment at the released rates, which know seen domains from unseen ones; transductive: "
    "pa, then class means that take part of the queries in; sur and urt: over the features of all "
    "SDL networks.",
)  # fmt: skip
# Testing
PROTOCOL = flags.DEFINE_multi_enum("protocol", PROTOCOLS[:1], PROTOCOLS, "Kinds of episodes.")
EPISODES = flags.DEFINE_integer("episodes", 600, "Episodes of each domain.")
VALIDATION = flags.DEFINE_integer("validation_episodes", 100, "Episodes that choose the best SDL.")
URT_STEPS = flags.DEFINE_integer("urt_steps", 10_000, "Training episodes of URT.")
SEED = flags.DEFINE_integer("seed", 0, "Of the episodes.")
# Output
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A minute-long run that shows that all works.")


def open_domains(networks):
    """Returns the `MetaDomains` to test on, and the names of those that are asked for."""
    benchmark, needed = few_shot_data.benchmark(SMOKE.value), DOMAINS.value
    if needed:
        # Validation episodes of the networks' own domains choose the best SDL.
        own = {domain for entry in networks.values() for domain in entry["domains"]}
        needed = [*needed, *sorted(own & set(few_shot_data.SEEN[benchmark]))]
    size = SIZE.value or next(iter(networks.values()))["size"]
    meta = few_shot_data.open_domains(benchmark, size, needed)
    domains = DOMAINS.value or list(meta.test)
    unknown = sorted(set(domains) - set(meta.test))
    if unknown:
        raise app.UsageError(f"--domains must name some of {list(meta.test)}. Received: {unknown}.")
    return meta, domains


def smoke_networks(folder):
    """Saves small untrained networks as `recipes/train_url.py` does."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for seed, (name, (kind, domains)) in enumerate(SMOKE_NETWORKS.items()):
        entries[name] = {"file": f"{name}.keras", "kind": kind, "domains": domains, "size": 32}
        if not (folder / f"{name}.keras").exists():
            keras.utils.set_random_seed(seed)
            network = models.MultiDomainModel(
                backbones.ResNet26(width=0.125, name="backbone"), dict.fromkeys(domains, 10)
            )
            network.save(folder / f"{name}.keras", include_optimizer=False)
    (folder / "networks.json").write_text(json.dumps(entries))


def read_networks(folder):
    """Returns `networks.json`, each entry with its path and the digest of its file."""
    path = folder / "networks.json"
    if not path.exists():
        raise app.UsageError(f"--networks_dir must hold networks.json. Received: {folder}.")
    found = {}
    for name, entry in json.loads(path.read_text()).items():
        file = folder / entry["file"]
        digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        found[name] = {**entry, "path": file, "digest": digest}
    return found


def make_extractor(entry, image_shape):
    """Returns a function of normalised images that gives the features of a saved network."""
    network = keras.saving.load_model(entry["path"], compile=False)
    images = keras.Input(image_shape)
    # The features before a domain's adapter, which are those of every domain alike.
    features = network.features(images, domain=network.domains[0], training=False)
    model = keras.Model(images, features)
    return lambda batch: keras.ops.convert_to_numpy(model.predict_on_batch(batch))


def extract(name, entry, domains, split, folder, batch_size=256):
    """Returns the features of each domain's split, from the cache where they are there."""
    found, extractor = {}, None
    for domain_name, domain in domains.items():
        images = domain.arrays(split)[0]
        key = f"{entry['digest']} {datasets.domain_fingerprint(domain, split)}"
        path = folder / "features" / f"{name}-{domain_name}-{split}.npz"
        if path.exists():
            with np.load(path) as file:
                if str(file["key"]) == key:
                    found[domain_name] = file["features"]
                    continue
        extractor = extractor or make_extractor(entry, domain.image_shape)
        found[domain_name] = np.concatenate(
            [
                extractor(domain.normalize(images[start : start + batch_size]))
                for start in range(0, len(images), batch_size)
            ]
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npz")
        np.savez(partial, features=found[domain_name], key=key)
        partial.replace(path)
    if extractor is not None:
        keras.utils.clear_session(free_memory=True)
    return found


def make_classifier(name, seen, urt=None):
    """Returns an estimator of `few_shot`; of URT the one that was trained."""
    if name == "urt":
        return urt
    if name.startswith("ncc"):
        return few_shot.NearestCentroid(name.removeprefix("ncc").removeprefix("_") or "cosine")
    if name in ("pa", "transductive"):
        alignment = few_shot.PreClassifierAlignment("seen" if seen else "unseen")
        return alignment if name == "pa" else few_shot.TransductiveAlignment(alignment)
    if name.startswith("pa_"):
        return few_shot.PreClassifierAlignment(name.removeprefix("pa_"))
    return {
        "scm": few_shot.SimpleCNAPS,
        "knn": few_shot.NearestNeighbours,
        "lr": few_shot.LogisticRegression,
        "svm": few_shot.SupportVectorMachine,
        "sur": few_shot.SUR,
    }[name]()


def episodes_digest(features, sampler, count):
    """Returns a digest of what `count` episodes are made of."""
    found = hashlib.sha256(np.ascontiguousarray(features))
    found.update(np.ascontiguousarray(sampler.labels))
    # How classes are drawn is known by the draws.
    for number in {0, count - 1}:
        for indices in (sampler(number).support_indices, sampler(number).query_indices):
            found.update(np.ascontiguousarray(indices))
    return found.hexdigest()[:16]


def stack(features, names, domain):
    """Returns the features of several networks, (images, networks, channels)."""
    return np.stack([features[name][domain] for name in names], axis=1)


def train_urt(networks, validation, meta, protocol, steps, seed, folder):
    """Returns URT, trained on validation episodes or read, and a digest of what it depends on."""
    singles = [name for name, entry in networks.items() if entry["kind"] == "sdl"]
    domains = list(meta.validation)
    features = {domain: stack(validation, singles, domain) for domain in domains}
    samplers = {
        # Not the episodes that choose the best SDL network.
        domain: meta.sampler(domain, "validation", protocol, seed=seed + 1)
        for domain in domains
    }
    settings = {
        "steps": steps, "seed": seed, "networks": [networks[n]["digest"] for n in singles],
        "data": {d: episodes_digest(features[d], samplers[d], steps) for d in domains},
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps([protocol, settings]).encode()).hexdigest()[:16]
    path = folder / "urt" / f"{protocol}-{digest}.npz"
    if path.exists():
        return few_shot.URT.load(path), digest

    def episodes():
        rng = np.random.default_rng(seed)
        for step in rich.progress.track(range(steps), f"URT, {protocol}"):
            domain = domains[rng.integers(len(domains))]
            part = samplers[domain](step)
            yield (
                features[domain][part.support_indices],
                part.support_labels,
                features[domain][part.query_indices],
                part.query_labels,
            )

    urt = few_shot.URT(seed=seed).meta_fit(episodes(), steps=steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps({**settings, "losses": urt.history_}))
    partial = path.with_suffix(".partial.npz")
    urt.save(partial)
    partial.replace(path)
    return urt, digest


def batches_of(features, sampler, count, block=BLOCK):
    """Yields features and labels of some episodes at a time: arrays, or lists if sizes vary."""
    if sampler.has_one_size:
        for first in range(0, count, block):
            part = sampler.block(first, min(block, count - first))
            yield (
                features[part.support_indices],
                part.support_labels,
                features[part.query_indices],
                part.query_labels,
            )
        return
    parts = sorted(map(sampler, range(count)), key=lambda part: len(part.support_indices))
    for first in range(0, count, block):
        some = parts[first : first + block]
        yield (
            [features[part.support_indices] for part in some],
            [part.support_labels for part in some],
            [features[part.query_indices] for part in some],
            [part.query_labels for part in some],
        )


def measure(
    title, features, classifier, meta, domain, split, protocol, count, seed, key, folder, urt=None
):
    """Returns (mean, half width) of one network, classifier and domain; measures it once."""
    path = folder / "measured" / protocol / f"{title}-{classifier}-{domain}-{split}.json"
    sampler = meta.sampler(domain, split, protocol, seed=seed)
    settings = {
        "episodes": count, "seed": seed, "key": key, "seen": domain in meta.seen,
        "data": episodes_digest(features, sampler, count),
    }  # fmt: skip
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["settings"] == settings:
            return tuple(kept["result"])
    estimator = make_classifier(classifier, domain in meta.seen, urt)
    result = evaluation.evaluate_episodes(estimator, batches_of(features, sampler, count))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"result": result, "settings": settings}))
    partial.replace(path)
    return result


def choose_best(networks, validation, meta, domains, protocol, count, seed, folder):
    """Returns for each domain the SDL network that is best in validation episodes."""
    singles = [name for name, entry in networks.items() if entry["kind"] == "sdl"]
    scores = {
        name: {
            domain: measure(
                name, own, "ncc", meta, domain, "validation", protocol, count, seed,
                networks[name]["digest"], folder,
            )[0]
            for domain, own in validation[name].items()
        }
        for name in singles
    }  # fmt: skip
    average = {name: float(np.mean(list(row.values()))) for name, row in scores.items()}
    return {
        domain: max(singles, key=lambda name: scores[name].get(domain, average[name]))
        for domain in domains
    }


def run_protocol(networks, features, validation, meta, domains, protocol, settings, folder):
    """Returns {method: {domain: (mean, half width)}} and the networks that "Best SDL" took."""
    count, seed = settings["episodes"], settings["seed"]
    singles = [name for name, entry in networks.items() if entry["kind"] == "sdl"]
    best = {}
    if singles:
        best = choose_best(
            networks, validation, meta, domains, protocol, settings["validation_episodes"], seed,
            folder,
        )  # fmt: skip
    # Which network each method takes for each domain; SUR and URT take all single ones.
    methods, urt, trained = {}, None, ""
    for classifier in settings["classifiers"]:
        if classifier in JOINT:
            if not singles:
                raise app.UsageError(f"--classifier={classifier} must have SDL networks.")
            methods[f"{OF_ALL}, {classifier}"] = (classifier, dict.fromkeys(domains, OF_ALL))
            continue
        if best:
            methods[f"{BEST}, {classifier}"] = (classifier, best)
        for name, entry in networks.items():
            if entry["kind"] != "sdl":
                methods[f"{name}, {classifier}"] = (classifier, dict.fromkeys(domains, name))
    if "urt" in settings["classifiers"]:
        urt, trained = train_urt(
            networks, validation, meta, protocol, settings["urt_steps"], seed, folder
        )
    results = {}
    work = [(method, domain) for method in methods for domain in domains]
    for method, domain in rich.progress.track(work, protocol):
        classifier, chosen = methods[method]
        name = chosen[domain]
        if name == OF_ALL:
            own = stack(features, singles, domain)
            key = " ".join(networks[single]["digest"] for single in singles)
            key = trained if classifier == "urt" else key
        else:
            own, key = features[name][domain], networks[name]["digest"]
        results.setdefault(method, {})[domain] = measure(
            name, own, classifier, meta, domain, "test", protocol, count, seed, key, folder, urt
        )
    return results, best


def show(rows, title):
    """Prints the table, each accuracy with its interval."""
    cells = [{"method": row["method"]} for row in rows]
    for row, line in zip(rows, cells, strict=True):
        for column, value in row.items():
            if column != "method" and not column.endswith(" +-"):
                half = f" +-{row[f'{column} +-']:.1f}" if f"{column} +-" in row else ""
                line[column] = f"{value:.1f}{half}"
    evaluation.show_table(cells, title, 220)


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start, folder = time.time(), pathlib.Path(OUTPUT.value)
    where = pathlib.Path(NETWORKS.value or folder / "networks")
    if SMOKE.value and NETWORKS.value is None:
        smoke_networks(where)
    networks = read_networks(where)
    meta, domains = open_domains(networks)
    settings = {
        "episodes": min(EPISODES.value, 10) if SMOKE.value else EPISODES.value,
        "validation_episodes": min(VALIDATION.value, 5) if SMOKE.value else VALIDATION.value,
        "urt_steps": min(URT_STEPS.value, 10) if SMOKE.value else URT_STEPS.value,
        "classifiers": list(dict.fromkeys(CLASSIFIERS.value)),
        "seed": SEED.value,
    }
    features, validation = {}, {}
    for name, entry in rich.progress.track(networks.items(), "features"):
        tested = {domain: meta.test[domain] for domain in domains}
        features[name] = extract(name, entry, tested, "test", folder)
        if entry["kind"] == "sdl":
            validation[name] = extract(name, entry, meta.validation, "validation", folder)
    table, taken = [], {}
    for protocol in dict.fromkeys(PROTOCOL.value):
        results, taken[protocol] = run_protocol(
            networks, features, validation, meta, domains, protocol, settings, folder
        )
        rows = evaluation.comparison_table(results, [d for d in domains if d in meta.seen])
        show(rows, f"{protocol}: accuracy (per cent) of {settings['episodes']} episodes a domain")
        plotting.plot_intervals(
            folder / f"{protocol}.png", results, "accuracy, per cent", protocol.replace("_", " ")
        )
        table += [{"protocol": protocol, **row} for row in rows]
    seed = settings.pop("seed")
    evaluation.write_results(
        folder / "results.json", table, seed, time.time() - start, best_sdl=taken,
        networks={name: entry["digest"] for name, entry in networks.items()}, **settings,
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
