"""The Visual Decathlon in `train_domain_adapters.py --benchmark=visual_decathlon`.

Its images are read from TensorFlow Datasets in `--data_dir` (`--download` fetches all but
imagenet12), prepared as `--decathlon_preset` says; of li2022 the crops of 64 pixels are enlarged to
the 72 of imagenet12, so that one trunk takes them all alike.

Its test labels are secret: with `--split=test` each network leaves `submissions/METHOD_seed0.zip`
for the official server, the trunk's own imagenet12 among the domains, and the table is read on the
validation split. With `--test_labels`, the `labels_test.zip` that was published with the code of
rebuffi2018, the table is read on the test split, and has the official score where all ten domains
are there.
"""

from absl import flags

from keras_univrep import datasets, evaluation, models

# Data
VARIANT = flags.DEFINE_enum(
    "decathlon_preset", "rebuffi2018", ["rebuffi2018", "li2022"], "Whose crops and mirrors."
)
DOWNLOAD = flags.DEFINE_boolean("download", False, "Whether to fetch the Visual Decathlon.")
LABELS = flags.DEFINE_string("test_labels", None, "The Visual Decathlon's labels_test.zip.")


def open_decathlon(data_dir):
    """Returns the domains of the Visual Decathlon, all of one size if the trunk's are larger."""
    side = 72 if VARIANT.value == "li2022" else None
    common = (VARIANT.value, data_dir, side, DOWNLOAD.value)
    return {name: datasets.DecathlonImages(name, *common) for name in datasets.visual_decathlon()}


def submit(network, domains, trunk, source, path):
    """Writes the predictions for the official server; returns test accuracies if labels are given.

    The trunk's own domain is predicted by the network that the trunk was trained in.
    """
    model = models.MultiDomainModel(trunk, {source.name: source.num_classes})
    model.load_weights(path.parent.parent / "source.weights.h5")
    predictions = evaluation.decathlon_predictions(model, {source.name: source})
    predictions |= evaluation.decathlon_predictions(network, domains)
    complete = len(predictions) == len(datasets.visual_decathlon())
    evaluation.write_decathlon_submission(path, predictions, partial=not complete)
    if LABELS.value is None:
        return {}
    found = evaluation.score_decathlon_submission(path, LABELS.value)
    score = {} if found["score"] is None else {"official score": round(found["score"], 1)}
    return {name: round(value, 2) for name, value in found["accuracies"].items()} | score
