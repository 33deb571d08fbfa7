"""Writes the pages that docstrings hold: docs/equations.md, and one page of docs/api a package.

make docs
"""

import importlib
import inspect
import pathlib
import pkgutil
import re
import textwrap

from equations_as_svg import Page

import keras_univrep

FOLDER = pathlib.Path(__file__).parent
TITLES = (
    "Equation", "Differences", "Args", "Call arguments", "Returns", "Raises", "Example",
    "References",
)  # fmt: skip
START = re.compile(rf"^({'|'.join(TITLES)}):(.*)$")
# The papers that the library is of, in the order of papers.md; those that these build on follow.
PAPERS = ("li2022", "he2022", "lekkala2020", "shu2021", "rebuffi2018")
PAPER = re.compile(r"\b[a-z]+\d{4}[a-z]?\b")
# Where an equation stands in its paper: those with a number first.
LOCATORS = (
    re.compile(r"\beq(?:uations?|\.)? (\d+)"),
    re.compile(r"\b(?:sections?|algorithm|claim) (\d+(?:\.\d+)*)"),
    re.compile(r"\btables? (\d+)"),
)
# "name: what it is", with the following lines further in.
ENTRY = re.compile(r"^(\**\w+(?:, \**\w+)*): ")


def packages():
    """Yields the public packages and their names, `(package, [(name, value)])`."""
    for module in pkgutil.iter_modules(keras_univrep.__path__, "keras_univrep."):
        if module.ispkg:
            package = importlib.import_module(module.name)
            yield package, [(name, getattr(package, name)) for name in package.__all__]


def sections(thing):
    """Returns the parts of a docstring, `{title: text}`, its opening under the empty title."""
    found, title = {"": []}, ""
    for line in (inspect.getdoc(thing) or "").splitlines():
        start = START.match(line)
        if start:
            title = start.group(1)
            found[title] = [start.group(2).strip()]
        else:
            found[title].append(line)
    return {title: dedented(lines) for title, lines in found.items()}


def dedented(lines):
    """A section's text: what stands on the line of its title, and the rest moved to the margin."""
    first, rest = lines[:1], lines[1:]
    return "\n".join([*first, textwrap.dedent("\n".join(rest))]).strip("\n")


def listed(text):
    """Arguments as a Markdown list."""
    items = []
    for line in text.splitlines():
        entry = ENTRY.match(line)
        if entry:
            items.append(f"- `{entry.group(1)}`: {line[entry.end() :]}")
        else:
            items.append(f"  {line.strip()}")
    return "\n".join(items)


def written(thing, drawing):
    """Yields the lines of a docstring as Markdown, its equations drawn."""
    for title, text in sections(thing).items():
        if title:
            yield f"**{title}**\n"
        if title in ("Args", "Call arguments", "Raises"):
            yield listed(text)
        elif title == "Example":
            yield f"```pycon\n{text}\n```"
        elif title == "Equation":
            yield drawing.typeset(text)
        else:
            yield text
        yield ""


def signature(name, value):
    """A call with its arguments, one to a line where they are many."""
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except (TypeError, ValueError):
        return None
    texts = [str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters]
    line = f"{name}({', '.join(texts)})"
    if len(line) > 90:
        line = f"{name}(\n    " + ",\n    ".join(texts) + ",\n)"
    return f"```python\n{line}\n```\n"


def methods(value):
    """Yields the documented methods and properties of a class's own."""
    for name, method in vars(value).items():
        plain = getattr(method, "__func__", method)
        if not name.startswith("_") and callable(plain) and inspect.getdoc(plain):
            if plain.__doc__:
                yield name, plain


def page(package, members):
    """Returns the page of a package."""
    drawing = Page()
    lines = [f"# {package.__name__}\n", inspect.getdoc(package) or "", ""]
    for name, value in sorted(members, key=lambda member: member[0].lower()):
        if not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        lines += [f"## {name}\n", signature(f"{package.__name__.split('.')[-1]}.{name}", value)]
        lines += written(value, drawing)
        for method, plain in methods(value) if inspect.isclass(value) else ():
            lines += [f"### {name}.{method}\n", signature(method, plain), *written(plain, drawing)]
    lines.append(drawing.outlines())
    return "\n".join(line for line in lines if line is not None)


def equations(members):
    """Yields (qualified name, first line, equation) of what computes an equation."""
    for package, names in members:
        for name, value in names:
            parts = sections(value) if callable(value) else {}
            if "Equation" in parts:
                path = f"{package.__name__}.{name}"
                yield path, parts[""].splitlines()[0], parts["Equation"]


def place(entry):
    """Orders entries of `equations` by paper and by where in it; and names the paper."""
    path, _, equation = entry
    line = " ".join(equation.split())
    paper = PAPER.search(line)
    paper = paper.group() if paper else "none"
    rank = PAPERS.index(paper) if paper in PAPERS else len(PAPERS) + (paper == "none")
    line = line[:100]
    for kind, locator in enumerate(LOCATORS):
        if found := locator.search(line):
            return rank, paper, kind, [int(part) for part in found.group(1).split(".")], path
    return rank, paper, len(LOCATORS), [], path


def main():
    members = list(packages())
    (FOLDER / "api").mkdir(exist_ok=True)
    for package, names in members:
        short = package.__name__.split(".")[-1]
        (FOLDER / "api" / f"{short}.md").write_text(page(package, names))
    lines = [
        "# Equations\n",
        "What computes which equation, by paper and place in it: numbers, then sections,",
        "then tables; made from the docstrings, whose formulas are plain text in the code.\n",
    ]
    drawing, paper = Page(), None
    for entry in sorted(equations(members), key=place):
        path, first, equation = entry
        if place(entry)[1] != paper:
            paper = place(entry)[1]
            lines.append("## Other\n" if paper == "none" else f"## {paper}\n")
        lines += [f"### {path}\n", f"{first}\n", drawing.typeset(equation), ""]
    lines.append(drawing.outlines())
    (FOLDER / "equations.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
