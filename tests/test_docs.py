"""The documentation's site is built without a warning."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from keras_univrep.applications import find_entry

DOCS = pathlib.Path(__file__).parents[1] / "docs"

pytest.importorskip("matplotlib")
pytest.importorskip("sphinx")


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("make_pages", DOCS / "make_pages.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        spec.loader.exec_module(module)
        yield module


def test_equations_come_by_paper_and_number(pages):
    found = list(pages.equations(list(pages.packages())))
    places = sorted(pages.place(entry) for entry in found)
    papers = list(dict.fromkeys(paper for _, paper, *_ in places))
    assert papers[:5] == ["li2022", "he2022", "lekkala2020", "shu2021", "rebuffi2018"]
    assert papers[5:-1] == sorted(papers[5:-1])
    for paper in papers:
        numbers = [number for _, p, kind, number, _ in places if p == paper and kind == 0]
        assert numbers == sorted(numbers)
    of = {path.rsplit(".", 1)[1]: (paper, kind, number) for _, paper, kind, number, path in places}
    assert of["CKA"] == ("li2022", 0, [5])
    assert of["ParallelAdapter"] == ("rebuffi2018", 1, [3, 1, 2])
    assert of["OmniLayer"] == ("shu2021", 0, [3])


def test_each_named_network_has_a_card_with_what_the_registry_says(pages):
    for card, name in (("demo", "five_domains"), ("vdd", "vdd"), ("vdd_url", "vdd-url")):
        entry = find_entry(name)
        text = (DOCS / "model_cards" / f"{card}.md").read_text()
        assert entry.sha256 in text and f"{entry.parameters:,}" in text, card
        for domain, accuracy in entry.measured.items():
            assert f"| {domain} | " in text, (card, domain)
            assert f" {accuracy:.1f}" in text or f" {accuracy:.2f}" in text, (card, domain)
        assert f"model_cards/{card}\n" in (DOCS / "index.md").read_text()


@pytest.mark.slow
def test_every_page_is_written_and_linked(tmp_path):
    folder = tmp_path / "docs"
    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns("_build", "api", "equations.md"))
    shutil.copy(DOCS.parent / "README.md", tmp_path)
    options = {"env": os.environ, "capture_output": True, "text": True, "check": False}
    made = subprocess.run([sys.executable, folder / "make_pages.py"], **options)
    assert made.returncode == 0, made.stderr
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", folder, tmp_path / "html"]
    built = subprocess.run(sphinx, **options)
    assert built.returncode == 0, built.stderr
    layers = (tmp_path / "html" / "api" / "layers.html").read_text()
    assert "ParallelAdapter" in layers and "rebuffi2018" in layers
    equations = (tmp_path / "html" / "equations.html").read_text()
    assert "keras_univrep.layers.ReconciliationLayer" in equations
    # Drawn, not shown as the source of a drawing.
    assert equations.count('<div class="equation"><svg role="img"') >= 140
    assert "&lt;svg" not in equations and "equations.css" in equations
