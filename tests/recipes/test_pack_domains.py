import json
import subprocess
import sys

import pytest

from keras_univrep.applications import UniversalResNet26
from keras_univrep.applications.weights_registry import read_registry
from tests.recipes.runner import RECIPES, runner


@pytest.mark.slow
def test_a_run_becomes_weights_that_the_constructor_reads(tmp_path):
    runner("train_domain_adapters")(tmp_path / "run", must_succeed=True)
    process = subprocess.run(
        [
            sys.executable, str(RECIPES / "pack_domains.py"), f"--run_dir={tmp_path / 'run'}",
            f"--output_dir={tmp_path / 'weights'}", "--benchmark=five_domains", "--name=tried",
            "--smoke",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2000:]
    entry = read_registry(tmp_path / "weights")["tried"]
    assert list(entry.domains) == ["signdigits"] == list(entry.measured)
    assert 0.0 <= entry.measured["signdigits"] <= 100.0
    path = tmp_path / "weights" / entry.file
    model = UniversalResNet26(path, entry.num_classes, **entry.architecture)
    assert model.count_params() == entry.parameters
    width = json.loads((tmp_path / "run" / "settings.json").read_text())["width"]
    assert entry.architecture["width"] == width
