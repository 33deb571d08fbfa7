"""The shape of the library: the way imports point, where frameworks may be, what is documented."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import os
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import keras
import pytest

from tests import turns

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "keras_univrep"
FILES = sorted(PACKAGE.rglob("*.py"))
FRAMEWORKS = ("tensorflow", "jax", "torch")

# A package may import those of a lower rank, and nothing that has no rank here.
RANKS = {
    "types": 0,
    "backend": 1,
    "layers": 2,
    "losses": 2,
    "balancers": 2,
    "metrics": 2,
    "optimizers": 2,
    "backbones": 3,
    "models": 4,
    "applications": 5,
}
# Nothing above imports a leaf; of one another they import only this.
LEAVES = {
    "callbacks": set(),
    "compression": set(),
    "conversion": {"compression"},
    "datasets": set(),
    "evaluation": {"datasets"},
    "few_shot": set(),
    "plotting": set(),
    "programs": {"callbacks", "conversion", "datasets", "evaluation", "few_shot"},
    "reinforcement": set(),
}
SECTIONS = (
    "Equation:",
    "Differences:",
    "Args:",
    "Call arguments:",
    "Returns:",
    "Raises:",
    "Example:",
    "References:",
)


def relative(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: pathlib.Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def runs_here(path: pathlib.Path) -> bool:
    """Whether the module belongs to the running backend or to all."""
    # backend/torch.py, backend/torch_images.py
    owner = path.stem.split("_")[0]
    return path.parent.name != "backend" or (
        owner not in FRAMEWORKS or owner == keras.backend.backend()
    )


def imports(path: pathlib.Path) -> Iterator[tuple[str, bool]]:
    """Every imported module of a file, and whether the import runs when the file is imported."""

    def visit(node: ast.AST, at_import: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            at_import = False
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            at_import = False
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_import) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from ((f"{origin}.{alias.name}", at_import) for alias in node.names)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_import)

    return visit(ast.parse(path.read_text(encoding="utf-8")), True)


def public() -> Iterator[tuple[str, object]]:
    """What the packages export, by full name."""
    for folder in sorted(PACKAGE.iterdir()):
        if (folder / "__init__.py").exists():
            module = importlib.import_module(f"keras_univrep.{folder.name}")
            for name in module.__all__:
                yield f"{folder.name}.{name}", getattr(module, name)


PUBLIC = dict(public())
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}
FUNCTIONS = {name: thing for name, thing in PUBLIC.items() if inspect.isfunction(thing)}


def test_the_walk_finds_the_library() -> None:
    assert {"layers.ParallelAdapter", "losses.CKA", "backbones.ResNet26"} <= set(CLASSES)
    assert "metrics.decathlon_score" in FUNCTIONS
    found = set(imports(PACKAGE / "layers/parallel_adapter.py"))
    assert ("keras_univrep.layers.adapted_layer.check_layer", True) in found


def test_imports_point_one_way() -> None:
    wrong = []
    for path in FILES:
        parts = path.relative_to(PACKAGE).parts
        here = parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        for name, _ in imports(path):
            target = name.split(".")[1] if name.startswith("keras_univrep.") else here
            if target == here:
                continue
            if here in LEAVES:
                allowed = target in RANKS or target in LEAVES[here]
            else:
                allowed = RANKS.get(target, 99) < RANKS[here]
            if not allowed:
                wrong.append(f"{relative(path)} imports {name}")
    assert not wrong


def test_every_package_has_a_place() -> None:
    found = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert found <= set(RANKS) | set(LEAVES)


def test_imports_are_absolute() -> None:
    assert not [relative(path) for path in FILES for name, _ in imports(path) if name[0] == "."]


def test_frameworks_are_imported_in_backend_alone() -> None:
    wrong = []
    for path in FILES:
        package = path.relative_to(PACKAGE).parts[0]
        for name, at_import in imports(path):
            if name.split(".")[0] not in (*FRAMEWORKS, "tensorflow_datasets", "keras_cv"):
                continue
            if package == "backend" or (package in ("datasets", "conversion") and not at_import):
                continue
            wrong.append(f"{relative(path)} imports {name}")
    assert not wrong


def test_private_parts_of_keras_are_used_in_backend_alone() -> None:
    wrong = [
        f"{relative(path)} imports {name}"
        for path in FILES
        if path.parent.name != "backend"
        for name, _ in imports(path)
        if name.startswith("keras.src")
    ]
    assert not wrong


def test_the_library_reads_no_command_line() -> None:
    wrong = [
        f"{relative(path)} imports {name}"
        for path in FILES
        for name, _ in imports(path)
        if name.split(".")[0] in ("absl", "argparse", "optparse", "click")
        and relative(path) != "keras_univrep/programs/command_line.py"
    ]
    assert not wrong


def test_importing_every_module_loads_no_framework_that_keras_does_not() -> None:
    names = [module_name(path) for path in FILES if runs_here(path)]
    code = (
        "import importlib, sys, keras\n"
        f"others = set({FRAMEWORKS}) - set(sys.modules)\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        "print('loaded', sorted(set(sys.modules) & others))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": keras.backend.backend()},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "loaded []"


def test_no_file_is_over_400_lines() -> None:
    folders = ("keras_univrep", "recipes", "applications", "benchmarks", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    long = {relative(p): n for p in files if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_each_file_holds_one_public_class() -> None:
    wrong = {}
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [n.name for n in tree.body if isinstance(n, ast.ClassDef) and n.name[0] != "_"]
        if len(names) > 1 and path.parent.name != "backend":
            wrong[relative(path)] = names
    assert not wrong


def test_programs_are_no_packages() -> None:
    folders = ("recipes", "applications", "benchmarks")
    assert not [folder for folder in folders if (ROOT / folder / "__init__.py").exists()]


def sections(thing: object) -> list[str]:
    """The section titles of a docstring, as they come."""
    lines = (inspect.getdoc(thing) or "").splitlines()
    # "Differences: none known" is a section with its text on the same line.
    starts = [(line.split(":")[0] + ":") for line in lines if line[:1].isupper() and ":" in line]
    return [start for start in starts if start in SECTIONS]


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_says_what_it_is(name: str) -> None:
    thing = PUBLIC[name]
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        pytest.fail(f"{name} is no class") if callable(thing) else None
        return
    text = thing.__doc__
    assert text, f"{name} has no docstring"
    first = text.strip().splitlines()[0]
    assert first.endswith("."), f"the first line of {name} is no sentence: {first!r}"
    found = sections(thing)
    assert found == sorted(set(found), key=SECTIONS.index)


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_class_has_an_example(name: str) -> None:
    assert ">>> " in CLASSES[name].__doc__
    assert "Example:" in sections(CLASSES[name])


@pytest.mark.parametrize(
    "name", [name for name in CLASSES if name.split(".")[0] in ("layers", "losses", "backbones")]
)
def test_every_unit_of_a_paper_states_its_equation(name: str) -> None:
    found = sections(CLASSES[name])
    assert "Equation:" in found
    assert "Returns:" in found or name.startswith("losses")


@pytest.mark.parametrize("name", CLASSES)
def test_machinery_carries_no_docstring(name: str) -> None:
    for method in ("build", "call", "get_config"):
        own = vars(CLASSES[name]).get(method)
        assert own is None or own.__doc__ is None, f"{name}.{method}"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, cls in CLASSES.items()
        if issubclass(cls, (keras.Layer, keras.Loss, keras.Optimizer)) and "get_config" in vars(cls)
    ],
)
def test_everything_with_a_configuration_is_registered(name: str) -> None:
    cls = CLASSES[name]
    assert keras.saving.get_registered_name(cls) == f"keras_univrep>{cls.__name__}"


def examples() -> Iterator[Any]:
    """Modules whose examples run here.

    What a backend gives always; the others, in `make test`, on PyTorch, which compiles nothing.
    """
    number = turns.BACKENDS.index("torch")
    for path in FILES:
        if runs_here(path):
            always = path.parent.name == "backend"
            yield pytest.param(module_name(path), marks=() if always else turns.marks(number))


@pytest.mark.parametrize("name", list(examples()))
def test_examples_run(name: str) -> None:
    module = importlib.import_module(name)
    report: list[str] = []
    runner = doctest.DocTestRunner(
        optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False
    )
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(example, out=report.append)
    assert not report, "".join(report)
