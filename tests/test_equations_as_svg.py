"""The equations of the site say what those of the docstrings say, or stay their text."""

import collections
import importlib
import pathlib
import random
import re
import sys
import types
import xml.etree.ElementTree

import pytest

from tests import turns

DOCS = pathlib.Path(__file__).parents[1] / "docs"

# Nothing here depends on the backend.
pytestmark = [*turns.marks(turns.BACKENDS.index("torch"))]
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def modules():
    """The programs of docs, which are no package."""
    names = ("equation_latex", "equation_reader", "equations_as_svg", "make_pages")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield types.SimpleNamespace(**{name: importlib.import_module(name) for name in names})
        for name in names:
            del sys.modules[name]


@pytest.fixture(scope="module")
def equations(modules):
    """The sections of all that is public, by name."""
    members = list(modules.make_pages.packages())
    return {path: text for path, _, text in modules.make_pages.equations(members)}


def blocks(text):
    """The indented blocks of a section."""
    found = re.findall(r"(?:^ {4}.*\n)+", text + "\n", re.MULTILINE)
    return ["\n".join(line[4:] for line in block.splitlines()) for block in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x_i^2 + y'_k", r"x_{i}^{2}\:{+}\:y_{k}^{\prime }"),
        ("sum_{n in V} |p_n|", r"\sum_{n\in V}\:|p_{n}|"),
        ("||m_.hw||^2", r"\Vert m_{\cdot hw}\Vert ^{2}"),
        ("m_chw F_joint E_d^max", r"m_{chw}\:F_{\mathrm{joint}}\:E_{d}^{\mathrm{max}}"),
        ("learning_rate v", r"\mathtt{learning\_rate}\ v"),
        ("g_theta_j(x)", r"g_{\theta _{j}}(x)"),
        ("theta~_(i-1) L^_ji h*_t", r"\tilde{\theta }_{i{-}1}\:\hat{L}_{ji}\:h_{t}^{\ast}"),
        ("f * x + u *^T x", r"f\:{\ast}\:x\:{+}\:u\:{{\ast}^{T}}\:x"),
        ("p(y = j | x)", r"p(y=j\mid x)"),
        ("<g_i, g_j> >= 0", r"\langle g_{i}{,}\ g_{j}\rangle \geq 0"),
        ("x = 1 if a < b else 0", r"x=1\ \mathrm{if}\ a<b\ \mathrm{else}\ 0"),
        ("f o .. o g", r"f\:{\circ}\:\ldots\:{\circ}\:g"),
        ("o (1 - w)", r"o\:(1\:{-}\:w)"),
        # From left to right, as in code.
        ("a / b c", r"\dfrac{a}{b}\:c"),
        ("1/n sum_i x_i / (y + 1)", r"\dfrac{1}{n}\:\sum_{i}\:\dfrac{x_{i}}{y\:{+}\:1}"),
        ("r 1/n x", r"r\:\dfrac{1}{n}\:x"),
        ("a x . w / s", r"\dfrac{a\:x\:{\cdot}\:w}{s}"),
        ("c d L(x) / d x", r"c\:\dfrac{d\:L(x)}{d\:x}"),
        ("(x, y) / 2", r"\dfrac{(x{,}\ y)}{2}"),
        ("(a + b / c d) / z", r"\dfrac{a\:{+}\:\frac{b}{c}\:d}{z}"),
        ("x^(k / K)", r"x^{k/K}"),
        ("(a / b)^2", r"\left(\dfrac{a}{b}\right)^{2}"),
    ],
)
def test_a_formula_becomes_latex(modules, text, expected):
    assert modules.equation_reader.latex(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "f(x",
        "f(x]",
        "||x| y",
        "x +",
        "a = = b",
        "sum_{i x_i",
        "x_",
        "x ^2",
        "x__i",
        "x^2^3",
        "()",
        "a / b / c",
        "log x / y",
        "1 / sum_i x_i",
        "L / d x",
        "x^-1/2",
        "g_theta'(x)",  # is it the gradient's or the parameter's prime?
        "ab + c",  # a product, or a name
        "The frozen network answers.",
        "weights stay frozen",
        "see https://example.org",
        "x = y;  # why",
        "x = λ",
    ],
)
def test_what_is_not_surely_read_is_refused(modules, text):
    with pytest.raises(modules.equation_latex.Uncertain):
        modules.equation_reader.latex(text)
    page = modules.equations_as_svg.Page()
    section = f"some2020, eq. 1:\n\n    y = 1\n    {text}\n\nand so on."
    assert page.typeset(section) == section
    assert not page.outlines()


def test_a_damaged_formula_is_read_or_refused(modules, equations):
    generator = random.Random(0)
    lines = [
        line for text in equations.values() for block in blocks(text) for line in block.split("\n")
    ]
    read = 0
    for _ in range(3000):
        line = generator.choice(lines)
        at = generator.randrange(len(line))
        damaged = line[:at] + generator.choice(["", *"()[]{}|<>_^'/ .,~*-"]) + line[at + 1 :]
        try:
            latex = modules.equation_reader.latex(damaged)
        except modules.equation_latex.Uncertain:
            continue
        read += 1
        plain = re.sub(r"\\[{}]", "", latex)
        assert plain.count("{") == plain.count("}"), damaged
        assert len(re.findall(r"\\left\b", latex)) == len(re.findall(r"\\right\b", latex)), damaged
        assert same_signs(damaged, latex), damaged
    assert 300 < read < 2000


def same_signs(text, latex):
    """Whether a formula has the letters, digits and signs of its text, each as often."""
    signs = {r"\in ": "in", r"\circ": "o", r"\times": "x", r"\prime ": "'", r"\leftarrow ": "<-"}
    signs |= {r"\rightarrow ": "->", r"\leq ": "<=", r"\geq ": ">=", r"\coloneq ": ":="}
    signs |= {r"\cdot 10^": "e", r"\Vert ": "||", r"\mid ": "|", r"\sqrt": "sqrt", r"\sum": "sum"}
    signs |= {r"\max": "max", r"\min": "min", r"\ast": "*", r"\tilde": "~", r"\hat": "^"}
    for sign, plain in signs.items():
        latex = latex.replace(sign, plain)
    latex = latex.replace(r"\neq ", "=").replace("10^{-12}", "1e-12").replace("\N{HYPHEN}", "-")
    latex = re.sub(
        r"\\(langle|rangle|mp|colon|sim|cdot|ldots|dfrac|frac|left|right|quad)\b", "", latex
    )
    latex = re.sub(r"\\(mathrm|mathtt)\b", "", latex)
    kept = re.compile(r"[A-Za-z0-9'=+*|]")
    text = text.replace("-/+", "")
    counts = [collections.Counter(kept.findall(part)) for part in (text, latex)]
    return counts[0] == counts[1]


def test_no_equation_loses_or_gains_a_sign(modules, equations):
    wrong = []
    for path, text in equations.items():
        for line in "\n".join(blocks(text)).splitlines():
            try:
                latex = modules.equation_reader.latex(line)
            except modules.equation_latex.Uncertain:
                continue
            if not same_signs(line, latex):
                wrong.append((path, line, latex))
    assert not wrong


def test_every_equation_is_drawn_or_stays_text(modules, equations, caplog):
    page = modules.equations_as_svg.Page()
    pages = [page.typeset(text) for text in equations.values()]
    pictures = re.findall('<div class="equation">(.*)</div>', "\n".join(pages))
    left = [block for text in pages for block in blocks(text)]
    # As few as may be: a new docstring that is not read wants its notation changed.
    assert len(pictures) >= 140
    assert len(left) <= 3, left
    assert len(pictures) + len(left) == sum(len(blocks(text)) for text in equations.values())
    assert not caplog.records  # mathtext warns of what it has no letter for
    symbols = re.findall(r"^\| (<svg.*?</svg>) \|", "\n".join(pages), re.MULTILINE)
    drawn = "".join([*pictures, page.outlines(), f"<i>{''.join(symbols)}</i>"])
    svg = xml.etree.ElementTree.fromstring(f"<p>{drawn}</p>")
    names = {path.get("id") for path in svg.iter("path")}
    assert names and {use.get("href") for use in svg.iter("use")} == {f"#{name}" for name in names}
    texts = {picture.get("aria-label") for picture in svg.findall("svg")}
    assert texts == {block for text in equations.values() for block in blocks(text)} - set(left)


def test_columns_of_the_text_are_columns_of_the_picture(modules):
    arranged = modules.equations_as_svg.arranged
    one, two = arranged(["F_joint = x", "F_a     = (x + y)"])
    assert one[1][0] == two[1][0] > 0
    one, two = arranged(["a(z) = z               linear", "a(z) = max(z W_1, 0)   nonlinear"])
    assert one[-1][0] == two[-1][0] > two[-2][0] + two[-2][1].width
    one, two = arranged(["L = sum_t  f(x)", "         + w g(x)"])
    assert one[-1][0] == two[-1][0]
    assert two[0][0] + two[0][1].width == pytest.approx(two[1][0])
    one, two = arranged(["a = b", "  c"])
    assert two[0][0] > one[0][0]


def test_a_table_keeps_its_cells(modules):
    page = modules.equations_as_svg.Page()
    table = "| symbol | here |\n|---|---|\n| ||g_t|| | 1 or ||g|| |\n| [;] | joined |"
    head, rule, norm, joined = page.typeset(table).splitlines()
    assert (head, rule, joined) == ("| symbol | here |", "|---|---|", "| [;] | joined |")
    assert norm.startswith('| <svg role="img" aria-label="&#124;&#124;g_t&#124;&#124;"')
    assert norm.endswith(r"</svg> | 1 or \|\|g\|\| |")
    assert len(re.findall(r"(?<!\\)\|", norm)) == 3
