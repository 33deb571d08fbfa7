"""How `x_learner.py` builds, trains and keeps each of its methods; no program."""

import json

import keras
import numpy as np

from keras_univrep import backbones, compression, datasets, evaluation, losses, models
from keras_univrep.callbacks import ProgressBar

# What has to be trained before.
NEEDS = {
    "X-Learner": ["expansion"], "expansion++": ["single"], "X-Learner++": ["expansion++"],
    "X-Learner_r": ["no reconciliation"], "X-Learner_p": ["expansion"], "MuST": ["single"],
}  # fmt: skip
LEVELS = ["level2", "level3", "level4", "level5"]
STRIDES = {"level2": 4, "level3": 8, "level4": 16}
# Tasks whose heads take maps of several levels.
PYRAMID = ("detection", "segmentation", "depth")
KINDS = {
    "classification": "classes", "detection": "boxes", "segmentation": "segmentation",
    "depth": "depth",
}  # fmt: skip


def make_head(source, width):
    """Returns the head of a source."""
    filters = max(8, int(128 * width))
    if source.kind == "classification":
        pool = keras.layers.GlobalAveragePooling2D()
        return keras.Sequential([pool, keras.layers.Dense(source.channels)])
    if source.kind == "detection":
        return backbones.RetinaNetHead(
            source.channels, STRIDES, 0, filters, tower_depth=2, kernel_initializer="he_normal"
        )
    return backbones.DeepLabV3Head(source.channels, filters, (1, 2), scale=8, level="level3")


def loss_of(source, head):
    """Returns the loss of what a source's head returns."""
    if source.kind == "classification":
        # Teachers leave open what they are not sure of.
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    if source.kind == "detection":
        # Small objects overlap with no anchor by a half.
        return head.detection_loss(source.image_shape[:2], match_best=True)
    return losses.DepthL1() if source.kind == "depth" else losses.SegmentationCrossEntropy()


def make_model(sources, settings, trunks=None, **options):
    """Returns an `XLearnerExpansion`, of a new sub-backbone for each task by default."""
    if trunks is None:
        trunks = {task: make_trunk(settings) for task in sources}
    heads = {
        task: {name: make_head(source, settings["width"]) for name, source in row.items()}
        for task, row in sources.items()
    }
    pyramid = [task for task in PYRAMID if task in sources]
    return models.XLearnerExpansion(trunks, heads, LEVELS, pyramid=pyramid, **options)


def make_shared(sources, settings):
    """Returns an `XLearnerExpansion` of one backbone for all."""
    return make_model(sources, settings, make_trunk(settings), reconciliation=None)


def make_trunk(settings, factor=1.0):
    """Returns a new backbone."""
    return backbones.ResNet50(settings["depth"], settings["width"] * factor)


def all_batches(sources, settings, seed):
    """Returns a function of the first step that gives the training's batches."""

    def batches(first_step):
        return datasets.source_pipeline(
            sources, "train", settings["batch"], training=True, mix=settings["mix"], seed=seed,
            first_step=first_step,
        )  # fmt: skip

    return batches


def fit(model, sources, batches, steps, settings, folder, title):
    """Compiles and trains a model, resumably."""
    schedule = keras.optimizers.schedules.CosineDecay(settings["rate"], steps)
    # On processors XLA's convolutions are several times slower than TensorFlow's own.
    compiled = {"jit_compile": keras.backend.backend() == "jax"}
    if isinstance(model, models.XLearnerExpansion):
        compiled["loss"] = {
            task: {name: loss_of(source, model.head(task, name)) for name, source in row.items()}
            for task, row in sources.items()
        }
    model.compile(keras.optimizers.Adam(schedule), **compiled)
    bar = ProgressBar(title, settings["epoch"], steps // settings["epoch"])
    models.resumable_fit(model, batches, steps, folder / "training", settings["epoch"], [bar])


def settle(model, sources, folder):
    """Keeps a trained model and its backbone; reads validation and test once."""
    if isinstance(model, models.XLearnerExpansion):
        backbone = model.to_backbone()
    else:
        backbone = model.student if isinstance(model, models.XLearnerSqueeze) else model.backbone
    backbone.save(folder / "backbone.keras", overwrite=True)
    model.save(folder / "partial.keras", overwrite=True)
    labels = not isinstance(model, models.SimCLR)
    found = {
        split: evaluation.source_metrics(model, sources, split) if labels else {}
        for split in ("validation", "test")
    }
    (folder / "measured.json").write_text(json.dumps(found))
    (folder / "partial.keras").replace(folder / "model.keras")
    return found


def finished(folder):
    """Returns the model of a folder and what was measured, or None before it is trained."""
    if not (folder / "model.keras").exists():
        return None
    model = keras.models.load_model(folder / "model.keras", compile=False)
    return model, json.loads((folder / "measured.json").read_text())


class Run:
    """The methods of one seed; each is trained when it is first asked for."""

    def __init__(self, sources, settings, folder, seed):
        self.sources, self.settings, self.folder, self.seed = sources, settings, folder, seed

    def __call__(self, method):
        """Returns the trained model of a method and what was measured."""
        folder = self.folder / method.replace(" ", "_")
        known = finished(folder)
        if known is not None:
            return known
        for needed in NEEDS.get(method, ()):
            self.teachers() if needed == "single" else self(needed)
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(self.seed)
        settings, steps = self.settings, self.settings["steps"]
        batches = all_batches(self.sources, settings, self.seed)
        if method in ("X-Learner", "X-Learner++"):
            model, steps = self.squeezed(method), settings["squeeze"]
        elif method == "X-Learner_p":
            model, steps = self.pruned(), settings["squeeze"]
        elif method == "SimCLR":
            model, batches = self.without_labels(), first_images(batches)
        elif method == "MuST":
            model, batches = make_shared(self.sources, settings), self.labelled(batches)
        else:
            model = self.expanded(method)
        fit(model, self.sources, batches, steps, settings, folder, f"{method}, seed {self.seed}")
        return model, settle(model, self.sources, folder)

    def expanded(self, method):
        """Returns the untrained network of a method that trains with labels."""
        settings = self.settings
        if method == "hard sharing":
            return make_shared(self.sources, settings)
        if method == "no reconciliation":
            return make_model(self.sources, settings, reconciliation=None)
        if method == "X-Learner_r":
            return make_model(self.sources, settings, self.halves())
        options = {
            "tau": settings["tau"],
            "feed_forward": settings["feed_forward"],
            "reconciliation_options": {"gamma_initializer": settings["first_gamma"]},
        }
        if method == "X-Learner_t":
            options["reconciliation"] = "shallower"
        if method == "expansion++":
            options["teachers"] = {
                task: {name: model.expanded.backbones[0] for name, model in row.items()}
                for task, row in self.teachers().items()
            }
        return make_model(self.sources, settings, **options)

    def single(self, task, name):
        """Returns the network of one source and what was measured."""
        folder = self.folder / "single" / f"{task}_{name}"
        known = finished(folder)
        if known is not None:
            return known
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.set_random_seed(self.seed)
        own, settings = {task: {name: self.sources[task][name]}}, self.settings
        model = make_shared(own, settings)
        batches = all_batches(own, settings, self.seed)
        title = f"{task} of {name}, seed {self.seed}"
        fit(model, own, batches, settings["steps"], settings, folder, title)
        return model, settle(model, own, folder)

    def teachers(self):
        """Returns the network of each source."""
        return {
            task: {name: self.single(task, name)[0] for name in row}
            for task, row in self.sources.items()
        }

    def singles(self):
        """Returns what was measured of all single networks."""
        found = {"validation": {}, "test": {}}
        for task, row in self.sources.items():
            for name in row:
                for split, values in self.single(task, name)[1].items():
                    found[split].setdefault(task, {}).update(values[task])
        return found

    def squeezed(self, method):
        """Returns one backbone that is to learn what an expanded one knows."""
        teacher, _ = self("expansion" if method == "X-Learner" else "expansion++")
        student = make_trunk(self.settings)
        return self.squeeze(teacher, student)

    def squeeze(self, teacher, student, **options):
        """Returns a student whose guidance layers have the scale of the teacher's maps."""
        model = models.XLearnerSqueeze(
            teacher, student, LEVELS, levels=[1, 2, 3, 4], reduction="relative", **options
        )
        images, _ = next(iter(all_batches(self.sources, self.settings, self.seed)(0)))
        model.calibrate(images)
        return model

    def pruned(self):
        """Returns the expanded network with as many weights as one sub-backbone has."""
        expansion, _ = self("expansion")
        trunks = expansion.expanded.backbones
        # Heads are no part of what is transferred.
        names = {layer.name for trunk in trunks for layer in trunk.layers}
        return compression.prune(
            expansion, 1.0 - 1.0 / len(trunks), choose=lambda layer: layer.name in names
        )

    def halves(self):
        """Returns sub-backbones of half the size, each squeezed from one of full size."""
        teacher, _ = self("no reconciliation")
        settings, found = self.settings, {}
        for task in self.sources:
            folder = self.folder / "X-Learner_r" / task
            path = folder / "half.keras"
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                keras.utils.set_random_seed(self.seed)
                half = make_trunk(settings, 0.5**0.5)
                model = self.squeeze(teacher, half, tasks=[task])
                fit(
                    model, self.sources, all_batches(self.sources, settings, self.seed),
                    settings["squeeze"], settings, folder, f"half for {task}, seed {self.seed}",
                )  # fmt: skip
                half.save(folder / "partial.keras", overwrite=True)
                (folder / "partial.keras").replace(path)
            found[task] = keras.models.load_model(path, compile=False)
        return found

    def without_labels(self):
        """Returns SimCLR over one backbone."""
        size = self.settings["size"]
        views = keras.Sequential(
            [
                keras.layers.RandomFlip("horizontal", seed=self.seed),
                keras.layers.RandomZoom((-0.4, 0.0), seed=self.seed),
                keras.layers.RandomTranslation(0.2, 0.2, seed=self.seed),
                keras.layers.GaussianNoise(0.1, seed=self.seed),
            ]
        )
        views.build((None, size, size, 3))
        return models.SimCLR(make_trunk(self.settings), views, level=LEVELS[-1])

    def labelled(self, batches):
        """Returns batches that the teachers of all sources have labelled."""
        teachers = self.teachers()

        def teacher(task, name):
            network = teachers[task][name].for_source(task, name)
            source, head = self.sources[task][name], teachers[task][name].head(task, name)
            if source.kind != "detection":
                return network.predict_on_batch
            size = source.image_shape[:2]
            places = {"max_detections": source.max_boxes}
            return lambda x: head.predict_boxes(network.predict_on_batch(x), size, **places)

        must = models.MuST(
            {task: {name: teacher(task, name) for name in row} for task, row in teachers.items()},
            {task: KINDS[next(iter(row.values())).kind] for task, row in self.sources.items()},
        )

        def labelled(first_step):
            for x, y in batches(first_step):
                yield must(x, y)

        return labelled


def first_images(batches):
    """Returns batches of the images of all sources, without their labels."""

    def images(first_step):
        for x, _ in batches(first_step):
            yield (np.concatenate([np.asarray(v) for v in keras.tree.flatten(x)]),)

    return images
