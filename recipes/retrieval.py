"""Retrieves images of the same class from whole test sets, without adaptation.

Paper: Li, Liu, Bilen, "Universal representations" (li2022), section 5.3, tables 8, 18 and 19:
Recall@1, 2, 4 and 8 of each test image against all others of its domain, for the single-domain
networks (SDL), their features summed and concatenated, the network of all domains (MDL) and the
universal network (URL); and pictures of the nearest images, as figures 12 to 15. On
`datasets.meta_local`, or with `--benchmark=meta_dataset` on Meta-Dataset (`few_shot_data.py`).

    python recipes/retrieval.py --networks_dir=runs/url --data_dir=... --output_dir=runs/retrieval
    python recipes/retrieval.py --output_dir=runs/smoke --smoke

`--networks_dir` is what `recipes/train_url.py` leaves. Features are kept where `meta_test.py` keeps
them, and shared with it if both have one `--output_dir`.

Expected: docs/results.md. Hardware: two cores.
"""

import logging
import pathlib
import time

import meta_test
import numpy as np
import rich.console
import rich.progress
import rich.table
from absl import app, flags

from keras_univrep import evaluation, plotting

# The flags of `meta_test` are this program's, too.
RECALLS = (1, 2, 4, 8)
WAYS = {"Sum": "sum", "Concatenate": "concatenate"}

DISTANCE = flags.DEFINE_enum("distance", "cosine", list(evaluation.retrieval.METRICS), "Distance.")
QUERIES = flags.DEFINE_integer("queries", 6, "Rows of each gallery.")
NEIGHBOURS = flags.DEFINE_integer("neighbours", 8, "Images of each row, besides the query.")
GALLERIES = flags.DEFINE_list("galleries", None, "Methods to draw; all but single SDL by default.")


def methods_of(networks, features, domain):
    """Returns the features of a domain by method."""
    singles = {n: features[n][domain] for n, e in networks.items() if e["kind"] == "sdl"}
    found = dict(singles)
    if len(singles) > 1:
        found |= {t: evaluation.combine_features(singles, how) for t, how in WAYS.items()}
    return found | {n: features[n][domain] for n, e in networks.items() if e["kind"] != "sdl"}


def draw(domain, features, path, queries, neighbours, seed):
    """Draws queries of different classes with their nearest images."""
    images, labels = domain.arrays("test")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    first = order[np.unique(labels[order], return_index=True)[1]]
    chosen = rng.permutation(first)[:queries]
    plotting.plot_gallery(path, images, features, labels, chosen, neighbours, domain.class_names)


def make_table(recalls, domains, seen):
    """Returns a row a method: each domain's recalls, and the means of Recall@1."""
    rows = []
    for method, row in recalls.items():
        line = {"method": method}
        for domain in domains:
            line |= {f"{domain} @{k}": round(value, 2) for k, value in row[domain].items()}
        groups = {"seen": seen, "unseen": [d for d in domains if d not in seen], "all": domains}
        for group, members in groups.items():
            if members:
                for k in RECALLS:
                    mean = float(np.mean([row[domain][k] for domain in members]))
                    line[f"{group} @{k}"] = round(mean, 2)
        rows.append(line)
    return rows


def show(rows, domains):
    """Prints Recall@1 of each domain, and all recalls of the means."""
    printed = rich.table.Table(title="Recall@k (per cent); domains @1")
    groups = [g for g in ("seen", "unseen", "all") if f"{g} @1" in rows[0]]
    columns = [f"{domain} @1" for domain in domains]
    columns += [f"{group} @{k}" for group in groups for k in RECALLS]
    for column in ["method", *columns]:
        printed.add_column(column, justify="left" if column == "method" else "right")
    for row in rows:
        printed.add_row(row["method"], *(f"{row[column]:.1f}" for column in columns))
    rich.console.Console(width=240).print(printed)


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start, smoke = time.time(), meta_test.SMOKE.value
    folder = pathlib.Path(meta_test.OUTPUT.value)
    where = pathlib.Path(meta_test.NETWORKS.value or folder / "networks")
    if smoke and meta_test.NETWORKS.value is None:
        meta_test.smoke_networks(where)
    networks = meta_test.read_networks(where)
    meta, domains = meta_test.open_domains(networks)
    tested = {domain: meta.test[domain] for domain in domains}
    features = {
        name: meta_test.extract(name, entry, tested, "test", folder)
        for name, entry in rich.progress.track(networks.items(), "features")
    }
    recalls = {}
    for name, domain in rich.progress.track(tested.items(), "retrieval"):
        for method, own in methods_of(networks, features, name).items():
            labels = domain.arrays("test")[1]
            recalls.setdefault(method, {})[name] = evaluation.recall_at_k(
                own, labels, RECALLS, DISTANCE.value
            )
            drawn = networks.get(method, {}).get("kind") != "sdl"
            if method in GALLERIES.value if GALLERIES.value else drawn:
                path = folder / "galleries" / f"{name}_{method}.png"
                draw(domain, own, path, QUERIES.value, NEIGHBOURS.value, meta_test.SEED.value)
    rows = make_table(recalls, domains, [name for name in domains if name in meta.seen])
    show(rows, domains)
    evaluation.write_results(
        folder / "results_retrieval.json", rows, meta_test.SEED.value, time.time() - start,
        distance=DISTANCE.value,
        networks={name: entry["digest"] for name, entry in networks.items()},
    )  # fmt: skip


if __name__ == "__main__":
    app.run(main)
