"""The code of the README and of the guides runs as it stands; of guides on one backend in turn."""

import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from tests import turns

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]
BLOCKS = {
    f"{page.stem}-{number}": (page, block)
    for page in PAGES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    )
}


def marks(name, number):
    """README runs on every backend, a guide on one in turn; X-Learner where nothing compiles."""
    if name.startswith("README"):
        return ()
    return turns.marks(turns.BACKENDS.index("torch") if name.startswith("x_learner") else number)


def make_birds(folder):
    """The folder of images that the README supposes."""
    rng = np.random.default_rng(0)
    for kind in ("jay", "wren"):
        (folder / "birds" / kind).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 255, (40, 48, 3)).astype("uint8")
            Image.fromarray(pixels).save(folder / "birds" / kind / f"{number}.png")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=marks(name, number)) for number, name in enumerate(BLOCKS)]
)
def test_a_pasted_block_runs(name, tmp_path, monkeypatch):
    page, block = BLOCKS[name]
    monkeypatch.chdir(tmp_path)
    make_birds(tmp_path)
    exec(compile(block, str(page), "exec"), {"__name__": "__main__"})


def test_there_is_code_to_paste():
    assert {page.stem for page, _ in BLOCKS.values()} >= {"README", "export"}
