"""Trains Omni-Training and what it is made of on few-shot classes, and tests in and across domains.

Paper: Shu et al., "Omni-Training for data-efficient deep learning" (2021), tables 2 to 6 and
figures 9 and 11: with ResNet-18 on mini-ImageNet at 5 shots ProtoNet 73.68, Baseline 74.27,
Joint-Training 76.95, Omni-Training with ProtoNet 81.26; mini-ImageNet to CUB 62.02, 65.57, 66.09,
71.30. Here on `datasets.meta_local`: 40 images a class of mini-ImageNet at 32 pixels, tested on its
test classes and, across domains, on cub10 and eurosat. Those numbers do not compare with the
paper's.

    python recipes/omni_classification.py --data_dir=... --output_dir=runs/omni_classification
    python recipes/omni_classification.py --output_dir=runs/smoke --smoke

Leave-one-out over several domains (table 5), with few queries for the small classes of cars196:

    python recipes/omni_classification.py --data_dir=... --output_dir=runs/without_cub10 --query=4
        --train=mini_imagenet,cars196,flowers17,dtd10 --tests=cub10

A mini-batch is then of all domains, with one classifier of all their classes, and an episode of one
of them, drawn for each step. --split=validation tests on the validation classes of the training
domains: settings are chosen there, with a seed that the test does not have.

Methods: "baseline" (pre-training alone), "episodic" (the meta-training algorithm alone),
"feature_wise" (the same with feature-wise transformations; only if named), "joint" (both losses on
one flow), "ensemble" (the mean of the first two, trained apart) and "omni", of which each flow is a
row as well. A test retrains the heads on each support set: a linear classifier by SGD for what was
pre-trained, the meta-training algorithm itself (class means, for example) for what was
meta-trained, both for the joint flow; an ensemble averages probabilities. --losses trains a part of
the Omni-Loss (table 6). The weights of each method are those of its last step.

attention_TEST.png (figure 11, for which the paper does not say what it shows) has the mean squared
activation of the last map, at four times its positions along either axis, of an image each of some
classes. A killed run goes on where it was when the same command is given again.

Expected: docs/results.md. Hardware: two cores, some hours; --steps shortens it.
"""

import logging
import pathlib
import time

import keras
import numpy as np
from absl import app, flags

from keras_univrep import backbones, datasets, evaluation, few_shot, models, plotting
from keras_univrep.callbacks import ProgressBar
from keras_univrep.layers import CosineClassifier
from keras_univrep.layers.copy_weights import copy_weights

# Losses and terms of the joint loss of each trained model.
TRAINED = {
    "baseline": (["joint"], ["pre"]),
    "episodic": (["joint"], ["meta"]),
    "feature_wise": (["joint"], ["meta"]),
    "joint": (["joint"], ["pre", "meta"]),
    "omni": (["joint", "pre", "meta"], ["pre", "meta"]),
}
METHODS = (*TRAINED, "ensemble")
BACKBONES = {
    "conv4": lambda size, width, pooling: backbones.Conv4(
        max(1, round(64 * width)), size, pooling=pooling
    ),
    "resnet10": lambda size, width, pooling: backbones.ResNet10(width, pooling=pooling),
    "resnet12": lambda size, width, pooling: backbones.ResNet12(width=width, pooling=pooling),
    "resnet18": lambda size, width, pooling: backbones.ResNet18(width=width, pooling=pooling),
    "resnet18_224": lambda size, width, pooling: backbones.StemPooledResNet(
        width=width, pooling=pooling
    ),
}  # fmt: skip
# Feature-wise transformations stand behind the normalisations that end a block.
BLOCK_ENDS = dict.fromkeys(BACKBONES, ".*(convolution2|projection)_normalization")
BLOCK_ENDS |= {"conv4": ".*", "resnet12": ".*(convolution3|shortcut)_normalization"}
BLOCK_ENDS["resnet18"] = ".*(unit2|projection)/normalization"
TRAINING, TESTS = ["mini_imagenet"], ["mini_imagenet", "cub10", "eurosat"]
EMBEDDED = ["eurosat"]
WAY = 5
# Of the pictures of attention: images, and positions for each of a map, along either axis.
SHOWN, FINER = 5, 4

# Data
DATA = flags.DEFINE_string("data_dir", None, "Folder of meta_local's sets.")
TRAIN = flags.DEFINE_list("train", None, f"Training domains; by default {TRAINING}.")
TESTED = flags.DEFINE_list("tests", None, f"Test domains; by default {TESTS}.")
SIZE = flags.DEFINE_integer("image_size", 32, "Side of the images, in pixels.")
# Model
BACKBONE = flags.DEFINE_enum("backbone", "conv4", list(BACKBONES), "Trunk of the Omni-Net.")
WIDTH = flags.DEFINE_float("width", 1.0, "Factor of the trunk's channels.")
META = flags.DEFINE_enum(
    "meta", "prototypical", ["prototypical", "matching", "relation", "graph"], "Meta-training."
)
START = flags.DEFINE_string("start", None, "First layer with branches, a regular expression.")
COSINE = flags.DEFINE_boolean("cosine", False, "Baseline++ in place of Baseline.")
# Training
NAMES = flags.DEFINE_list(
    "methods", [name for name in METHODS if name != "feature_wise"], f"Some of {list(METHODS)}."
)
LOSSES = flags.DEFINE_list("losses", ["joint", "pre", "meta"], "Losses of omni.")
WEIGHT = flags.DEFINE_float("distillation_weight", 3.0, "lambda; 0 for no distillation.")
COMPARED = flags.DEFINE_enum(
    "compared", "logits", ["logits", "probabilities"], "What is distilled."
)
DECAY = flags.DEFINE_float("decay", 0.99, "rho.")
STEPS = flags.DEFINE_integer("steps", 4000, "Training steps, a multiple of ten.")
BATCH = flags.DEFINE_integer("batch_size", 64, "Images of a mini-batch.")
QUERY = flags.DEFINE_integer("query", 16, "Queries of each class, in training and in tests.")
RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam.")
SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of weights, batches and episodes.")
# Output
SPLIT = flags.DEFINE_enum(
    "split", "test", ["test", "validation"], "Classes that are tested; validation is of --train."
)
EPISODES = flags.DEFINE_integer("episodes", 600, "Episodes of each test.")
OUTPUT = flags.DEFINE_string("output_dir", None, "Folder of the results.", required=True)
SMOKE = flags.DEFINE_boolean("smoke", False, "A minute-long run that shows that all works.")


def load(data_dir, size, train, tests, split, smoke):
    """Returns the training domains, and the domains and split to test by name."""
    if smoke:
        # What ships with the package has the same classes in all splits: it shows that all works.
        found = {name: datasets.load_domain(name) for name in [*train, *tests]}
        return [found[name] for name in train], {name: (found[name], "test") for name in tests}
    meta = datasets.meta_local(data_dir, size, [*train, *tests])
    training = [meta.domain(name, "train") for name in train]
    names = tests if split == "test" else [name for name in train if name in meta.validation]
    sources = {name: (meta.domain(name, split), split) for name in names}
    trained_on = {domain.name: set(domain.class_names) for domain in training}
    for name in names:
        # Where a set has few classes, only its images are new.
        if trained_on.get(name, set()) & set(sources[name][0].class_names):
            del sources[name]
    if not sources or (split == "test" and len(sources) < len(names)):
        raise app.UsageError(
            f"A test must be of classes that are not trained on. Received: --train={train}, "
            f"--tests={tests}, --split={split}, where these are: {list(sources)}."
        )
    return training, sources


def sampler_of(labels, shot, query, seed, stream):
    """Returns the sampler of the episodes of a domain."""
    return datasets.EpisodeSampler(
        labels, way=WAY, shot=shot, query=query, seed=seed, stream=stream
    )


def training_samplers(domains, seed, settings):
    """Returns the sampler of the training episodes of each domain."""
    episode = settings["training_episode"]
    return [sampler_of(d.arrays("train")[1], *episode, seed, "train") for d in domains]


def make_trunk(settings, pooling):
    """Returns an untrained trunk."""
    return BACKBONES[settings["backbone"]](settings["image_size"], settings["width"], pooling)


def make_model(method, classes, settings):
    """Returns an untrained model of a method."""
    trunk, start = make_trunk(settings, "avg"), settings["start"]
    if method == "feature_wise":
        # Its one flow needs no branches; all layers have longer names than `start` knows.
        trunk = backbones.TransformedBackbone(trunk, BLOCK_ENDS[settings["backbone"]])
        start = None
    losses, terms = TRAINED[method]
    if method == "omni":
        losses = settings["losses"]
    head = keras.layers.Dense(classes, name="classes")
    if settings["cosine"]:
        head = CosineClassifier(classes, name="classes")
    options = {"way": WAY}
    model = models.OmniTraining(
        backbones.OmniNet(trunk, start=start), head, settings["meta"], options,
        losses=losses, joint_terms=terms,
        distilled=["pre", "meta"] if settings["distillation_weight"] else [],
        distillation_weight=settings["distillation_weight"], decay=settings["decay"],
        compared=settings["compared"],
    )  # fmt: skip
    model.compile(
        keras.optimizers.Adam(settings["learning_rate"], epsilon=1e-8),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # On processors XLA's convolutions are several times slower than TensorFlow's own.
        jit_compile=keras.backend.backend() == "jax",
    )
    return model


def trained(method, domains, seed, settings, folder):
    """Returns the model of a method, trained, resumably."""
    keras.utils.set_random_seed(seed)
    model = make_model(method, sum(domain.num_classes for domain in domains), settings)
    name = f"{method}_seed{seed}"
    weights = folder / f"{name}.weights.h5"
    if weights.exists():
        model.load_weights(weights)
        return model
    samplers, batch_size = training_samplers(domains, seed, settings), settings["batch_size"]

    def items(first_step):
        return datasets.batches_with_episodes(
            domains, "train", samplers, batch_size, seed=seed, first_step=first_step
        )

    epoch = settings["steps"] // settings["epochs"]
    models.resumable_fit(
        model, items, settings["steps"], folder / name, epoch,
        [ProgressBar(name, epoch, settings["epochs"])],
    )  # fmt: skip
    model.save_weights(weights)
    return model


def features_of(model, flows, source):
    """Returns the features of the flows of all images, side by side, and the labels."""
    domain, split = source
    images, labels = domain.arrays(split)
    rows = []
    for flow in flows:
        network = backbones.OmniFlow(model.network, flow)
        parts = np.array_split(images, max(1, len(images) // 256))
        rows.append(
            np.concatenate([network.predict_on_batch(domain.normalize(part)) for part in parts])
        )
    return np.concatenate(rows, axis=-1).astype("float32"), labels


def on_features(model, flow):
    """Returns the flow's meta-training algorithm as an estimator of features."""
    learner, channels = model.learners[flow], model.network.filters
    if isinstance(learner, models.PrototypicalNetwork):
        return few_shot.NearestCentroid("euclidean")
    inputs = keras.Input((channels,))
    identity = keras.Model(inputs, keras.layers.Identity()(inputs))
    config = {**learner.get_config(), "backbone": keras.saving.serialize_keras_object(identity)}
    twin = type(learner).from_config(config)
    shared = {id(variable) for variable in model.network.variables}
    own = [variable for variable in learner.trainable_variables if id(variable) not in shared]
    for variable, trained in zip(twin.trainable_variables, own, strict=True):
        variable.assign(trained)
    return models.EpisodeClassifier(twin)


def heads_of(method, model, flows):
    """Returns the estimators of each row, as pairs with the channels that they see."""
    channels = model.network.filters
    places = {flow: slice(n * channels, (n + 1) * channels) for n, flow in enumerate(flows)}
    own = {}
    for flow in flows:
        own[flow] = []
        if flow in model.trained["pre"]:
            own[flow].append((few_shot.FineTunedLinear(), places[flow]))
        if flow in model.trained["meta"]:
            own[flow].append((on_features(model, flow), places[flow]))
    if method != "omni":
        return {method: own["joint"]}
    rows = {f"omni, {flow} flow": members for flow, members in own.items()}
    # Each flow counts once, whatever the number of its heads.
    together = own.get("joint", []) + 2 * (own.get("pre", []) + own.get("meta", []))
    return {"omni": together, **rows}


def draw_attention(made, tests, settings, folder):
    """Draws where pre-training, meta-training and the flows are active in some test images."""
    flows = {name: {name: "joint"} for name in ("baseline", "episodic")}
    flows["omni"] = {f"{flow} flow": flow for flow in settings["losses"]}
    networks = {}
    for method in [method for method in flows if method in made]:
        # The same network without the mean over positions.
        trunk, start = make_trunk(settings, None), settings["start"]
        network = backbones.OmniNet(trunk, start=start, pooling=None)
        copy_weights(made[method].network, network)
        for name, flow in flows[method].items():
            networks[name] = backbones.OmniFlow(network, flow)
    for test, (domain, split) in tests.items() if networks else ():
        images, labels = domain.arrays(split)
        images = images[np.unique(labels, return_index=True)[1][:SHOWN]]
        maps = {
            name: backbones.spatial_attention(network, domain.normalize(images), FINER)
            for name, network in networks.items()
        }
        plotting.plot_attention_maps(folder / f"attention_{test}.png", images, maps)


def tests_of(methods, seed, sources, settings, folder, pictures):
    """Returns (accuracy, half width) by method, test and shot."""
    training, tests = sources
    found, kept, made = {}, {}, {}
    for method in methods:
        if method == "ensemble":
            continue
        model = trained(method, training, seed, settings, folder)
        flows = settings["losses"] if method == "omni" else ["joint"]
        flows = [flow for flow in ("joint", "pre", "meta") if flow in flows]
        made[method] = model
        for test, source in tests.items():
            features, labels = kept[method, test] = features_of(model, flows, source)
            for row, members in heads_of(method, model, flows).items():
                found |= judge(row, test, features, labels, members, settings, seed)
    if "ensemble" in methods:
        for test in tests:
            both = [kept[method, test][0] for method in ("baseline", "episodic")]
            channels = made["baseline"].network.filters
            members = [
                (estimator, slice(n * channels, (n + 1) * channels))
                for n, method in enumerate(("baseline", "episodic"))
                for estimator, _ in heads_of(method, made[method], ["joint"])[method]
            ]
            joined, labels = np.concatenate(both, axis=-1), kept["baseline", test][1]
            found |= judge("ensemble", test, joined, labels, members, settings, seed)
    if pictures:
        draw_attention(made, tests, settings, folder)
    return found


def judge(row, test, features, labels, members, settings, seed):
    """Returns (accuracy, half width) by method, test and shot of one classifier."""
    found = {}
    for shot in settings["shots"]:
        sampler = sampler_of(labels, shot, settings["query"], seed, test)
        count = settings["episodes"]
        items = datasets.episode_batches((features, labels), None, sampler, count, min(count, 100))
        found[row, test, shot] = evaluation.evaluate_episodes(
            few_shot.Ensemble(members), (tuple(item.values()) for item in items)
        )
    return found


def table(found, tests, settings):
    """Rows: the mean over seeds, the mean half width and the accuracies of the seeds."""
    rows = []
    for method in dict.fromkeys(row for own in found for row, _, _ in own):
        for test in tests:
            for shot in settings["shots"]:
                pairs = [own[method, test, shot] for own in found]
                rows.append(
                    {
                        "method": method,
                        "test": test,
                        "shot": shot,
                        "accuracy": round(float(np.mean([mean for mean, _ in pairs])), 2),
                        "interval": round(float(np.mean([half for _, half in pairs])), 2),
                        "seeds": [round(float(mean), 2) for mean, _ in pairs],
                    }
                )
    return rows


def main(_):
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    start = time.time()
    smoke, names = SMOKE.value, NAMES.value
    if set(names) - set(METHODS) or ("ensemble" in names and {"baseline", "episodic"} - set(names)):
        raise app.UsageError(
            f"--methods must be some of {list(METHODS)}, the ensemble with the two that it is "
            f"made of. Received: {names}."
        )
    settings = {
        "image_size": 32 if smoke else SIZE.value,
        "backbone": BACKBONE.value,
        "width": 0.0625 if smoke else WIDTH.value,
        "meta": META.value,
        "start": START.value,
        "cosine": COSINE.value,
        "losses": LOSSES.value,
        "distillation_weight": WEIGHT.value,
        "compared": COMPARED.value,
        "decay": DECAY.value,
        "steps": 4 if smoke else STEPS.value,
        "epochs": 2 if smoke else 10,
        "batch_size": 8 if smoke else BATCH.value,
        "learning_rate": RATE.value,
        "training_episode": [1, 2] if smoke else [5, QUERY.value],
        "shots": [1] if smoke else [5, 1],
        "query": 2 if smoke else QUERY.value,
        "episodes": 4 if smoke else EPISODES.value,
    }
    usual, usually_tested = (EMBEDDED, EMBEDDED) if smoke else (TRAINING, TESTS)
    train = list(dict.fromkeys(TRAIN.value or usual))
    tests = list(dict.fromkeys(TESTED.value or usually_tested))
    if train != usual:
        settings["train"] = train
    seeds = [0] if smoke else [int(seed) for seed in SEEDS.value]
    folder = pathlib.Path(OUTPUT.value)
    sources = load(DATA.value, settings["image_size"], train, tests, SPLIT.value, smoke)
    # What cannot be sampled is refused before the training, and not after it.
    training_samplers(sources[0], 0, settings)
    for test, (domain, split) in sources[1].items():
        sampler_of(domain.arrays(split)[1], max(settings["shots"]), settings["query"], 0, test)
    evaluation.keep_settings(folder, settings)
    found = [tests_of(names, n, sources, settings, folder, n == seeds[0]) for n in seeds]
    rows = table(found, sources[1], settings)
    evaluation.show_table(rows, f"{WAY}-way accuracy on classes never seen (per cent)", 140)
    name = "results.json" if SPLIT.value == "test" else "validation.json"
    evaluation.write_results(
        folder / name, rows, seeds[0], time.time() - start, seeds=seeds, **settings
    )


if __name__ == "__main__":
    app.run(main)
