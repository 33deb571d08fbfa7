"""The code of the README runs as it stands."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

README = pathlib.Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.M | re.S)


def make_birds(folder):
    """The folder of images that the README supposes."""
    rng = np.random.default_rng(0)
    for kind in ("jay", "wren"):
        (folder / "birds" / kind).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 255, (40, 48, 3)).astype("uint8")
            Image.fromarray(pixels).save(folder / "birds" / kind / f"{number}.png")


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block{i}" for i in range(len(BLOCKS))])
def test_a_pasted_block_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_birds(tmp_path)
    exec(compile(block, str(README), "exec"), {"__name__": "__main__"})


def test_there_is_code_to_paste():
    assert BLOCKS
