import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_univrep.applications import from_domain_packs
from keras_univrep.models import read_pack
from keras_univrep.programs import add_domain
from keras_univrep.programs._smoke import write_examples


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("added")
    write_examples(folder / "mine", 8, 2)
    arguments = {"images": str(folder / "mine"), "steps": 2, "batch_size": 4, "learning_rate": 0.1}
    return folder, arguments, add_domain(str(folder / "out"), **arguments)


def test_the_pack_loads_onto_the_network_that_it_was_made_for(finished):
    folder, _, result = finished
    pack, _ = read_pack(result["pack"])
    assert (pack.domain, pack.num_classes) == ("mine", 2)
    model = from_domain_packs("five_domains", [result["pack"]])
    assert model.domains == ("mine",)
    x = np.ones((1, 32, 32, 3), "float32")
    assert keras.ops.convert_to_numpy(model(x, domain="mine")).shape == (1, 2)


def test_the_report_says_what_was_measured(finished):
    folder, _, result = finished
    report = (folder / "out" / "report.md").read_text()
    assert "from_domain_packs('five_domains', ['mine.zip'])" in report
    assert f"{result['test']} %" in report and "AnnualCrop, Forest" in report
    row = json.loads((folder / "out" / "results.json").read_text())["table"][0]
    assert row["test"] == result["test"] and 0.0 < row["parameters"] < 0.3


def test_a_second_run_trains_nothing_again_and_scores_the_same(finished):
    folder, arguments, result = finished
    before = (folder / "out" / "mine.zip").stat().st_mtime_ns
    assert add_domain(str(folder / "out"), **arguments) == result
    assert (folder / "out" / "mine.zip").stat().st_mtime_ns == before


def test_other_settings_want_another_folder(finished):
    folder, arguments, _ = finished
    with pytest.raises(ValueError, match="another folder"):
        add_domain(str(folder / "out"), **{**arguments, "steps": 4})
    with pytest.raises(ValueError, match="other values of flip"):
        add_domain(str(folder / "out"), **arguments, flip=True)
    with pytest.raises(ValueError, match="folder of class folders"):
        add_domain(str(folder / "new"))


def test_other_images_want_another_folder(finished):
    folder, arguments, result = finished
    out, mine = str(folder / "out"), folder / "mine"
    more = write_examples(folder / "more", 9, 3)
    shutil.copy(more / "Forest" / "8.png", mine / "Forest")
    with pytest.raises(ValueError, match="other values of files"):
        add_domain(out, **arguments)
    shutil.copytree(more / "HerbaceousVegetation", mine / "HerbaceousVegetation")
    with pytest.raises(ValueError, match="other values of classes, files"):
        add_domain(out, **arguments)
    shutil.rmtree(mine / "HerbaceousVegetation")
    (mine / "Forest" / "8.png").unlink()
    assert add_domain(out, **arguments) == result


ALONE = """
import sys
sys.modules["tensorflow"] = None
from keras_univrep.programs import add_domain
print(add_domain(sys.argv[1], images=sys.argv[2], steps=2, batch_size=4))
"""


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="it is blocked")
def test_it_works_without_tensorflow(finished, tmp_path):
    folder, _, _ = finished
    process = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path), str(folder / "mine")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2000:]
    assert (tmp_path / "mine.zip").exists()
