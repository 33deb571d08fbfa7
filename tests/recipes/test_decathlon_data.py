"""The Visual Decathlon, with random images in place of its own, from training to the score."""

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from keras_univrep.datasets import visual_decathlon
from tests.recipes.runner import RECIPES, refuser

pytest.importorskip("tensorflow_datasets")

# Runs a recipe with three images a split in each domain.
PROGRAM = """
import runpy, sys
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
import keras_univrep.datasets

facts = sys.modules["keras_univrep.datasets.visual_decathlon"]._FACTS
facts.update({name: (own[0], 3, *own[2:]) for name, own in facts.items()})
images = np.random.default_rng(0).integers(0, 256, (3, 72, 80, 3)).astype("uint8")
encoded = [tf.io.encode_png(image).numpy() for image in images]

def as_dataset(self, split, decoders, **kwargs):
    names = [f"{self.builder_config.name}/{split}/{i:06d}.jpg" for i in (1, 2, 3)]
    labels = [-1] * 3 if split == "test" else [0, 1, 1]
    content = {"image": tf.constant(encoded), "label": np.array(labels, "int64")}
    return tf.data.Dataset.from_tensor_slices({**content, "name": tf.constant(names)})

sys.path.insert(0, sys.argv[1].rsplit("/", 1)[0])
sys.argv = sys.argv[1:]
with tfds.testing.mock_data(as_dataset_fn=as_dataset):
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
# One of crops of 64 pixels, as the trunk's imagenet12, and one of 72.
NAMES = ["dtd", "gtsrb"]
FACTS = {name: visual_decathlon()[name] for name in ["imagenet12", *NAMES]}


def run(folder, *flags):
    command = [sys.executable, "-c", PROGRAM, str(RECIPES / "train_domain_adapters.py")]
    flags = ["--smoke", "--benchmark=visual_decathlon", "--width=0.0625", *flags]
    return subprocess.run(
        [*command, f"--output_dir={folder}", f"--data_dir={folder}", *flags],
        capture_output=True, text=True, env=os.environ, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decathlon")
    process = run(folder, f"--domains={','.join(NAMES)}")
    assert process.returncode == 0, process.stderr[-3000:]
    return folder


def answers_of(folder):
    with zipfile.ZipFile(folder / "submissions" / "parallel_seed0.zip") as file:
        return json.loads(file.read("results.json"))


def test_adapters_and_the_trunk_make_a_submission(finished):
    result = json.loads((finished / "results.json").read_text())
    for row in result["table"]:
        assert set(NAMES) < set(row) and "imagenet12" not in row
        # The test labels are secret: these are validation images.
        assert all(row[name] in (0.0, 33.33, 66.67, 100.0) for name in NAMES)
    numbers = [facts.first_test_image + i for facts in FACTS.values() for i in range(3)]
    assert sorted(answer["image_id"] for answer in answers_of(finished)) == sorted(numbers)


def test_published_labels_give_the_test_accuracies(finished, tmp_path):
    answers = answers_of(finished)
    # Of dtd's images the first is answered rightly, of gtsrb's the first two.
    for name, right in (("imagenet12", 0), ("dtd", 1), ("gtsrb", 2)):
        first = FACTS[name].first_test_image
        truth = [a for a in answers if 0 <= a["image_id"] - first < 3]
        for answer in truth[right:]:
            answer["category_id"] -= 1
        (tmp_path / f"{name}_test.json").write_text(json.dumps({"annotations": truth}))
    process = run(finished, f"--domains={','.join(NAMES)}", f"--test_labels={tmp_path}")
    assert process.returncode == 0, process.stderr[-3000:]
    rows = json.loads((finished / "results.json").read_text())["table"]
    assert (rows[0]["method"], rows[0]["dtd"], rows[0]["gtsrb"]) == ("parallel", 33.33, 66.67)


def test_studies_of_less_data_are_refused(tmp_path):
    refusal = refuser("train_domain_adapters")
    flags = ("--benchmark=visual_decathlon", f"--data_dir={tmp_path}", "--study=size")
    assert "--study must be 'methods'" in refusal(tmp_path, *flags)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_li2022_brings_all_domains_to_one_size(tmp_path):
    flags = ["--decathlon_preset=li2022", "--domains=dtd", "--split=validation"]
    process = run(tmp_path, *flags)
    assert process.returncode == 0, process.stderr[-3000:]
    pack = zipfile.ZipFile(tmp_path / "parallel" / "seed0" / "dtd.zip")
    manifest = json.loads(pack.read("manifest.json"))
    assert manifest["preprocessing"]["shape"] == [72, 72, 3]
    np.testing.assert_allclose(manifest["preprocessing"]["mean"], visual_decathlon()["dtd"].mean)
