import configparser
import pathlib
import subprocess
import sys

import pytest

from keras_univrep import programs
from keras_univrep.programs import command_line

ROOT = pathlib.Path(__file__).parents[2]


def test_the_package_declares_the_command():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    line = setup["options.entry_points"]["console_scripts"].strip()
    assert line == "keras-univrep = keras_univrep.programs.command_line:main"
    assert callable(command_line.main)


def test_it_lists_every_program(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["keras-univrep"])
    assert command_line.main() == 0
    text = capsys.readouterr().out
    assert all(name in text for name in programs.__all__)
    monkeypatch.setattr(sys, "argv", ["keras-univrep", "paint"])
    assert command_line.main() == 2
    assert "paint" in capsys.readouterr().err


@pytest.mark.parametrize("name", programs.__all__)
def test_every_argument_has_a_flag_that_says_what_it_is(name, capsys):
    assert command_line.run(name, ["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert len(lines) >= 5 and all(": " in line and ": None" not in line for line in lines)


@pytest.mark.parametrize("name", programs.__all__)
def test_every_program_has_its_file_in_applications(name):
    assert f'run("{name}")' in (ROOT / "applications" / f"{name}.py").read_text()


def test_flags_reach_the_program_with_their_types(monkeypatch):
    got = {}

    def classify_folder(
        output_dir: str, domains: list[str] = (), top: int = 3, smoke: bool = False
    ) -> None:
        """Does nothing.

        Args:
            output_dir: Where.
            domains: Which.
            top: How many.
            smoke: Whether.
        """
        got.update(output_dir=output_dir, domains=domains, top=top, smoke=smoke)

    monkeypatch.setattr(programs, "classify_folder", classify_folder)
    flags = ["--output_dir=x", "--domains=a,b", "--top=5", "--smoke"]
    assert command_line.run("classify_folder", flags) == 0
    assert got == {"output_dir": "x", "domains": ["a", "b"], "top": 5, "smoke": True}


@pytest.mark.parametrize("flags", [[], ["--output_dir=x", "--tops=1"], ["--output_dir=x", "y"]])
def test_wrong_flags_end_with_a_line_and_no_traceback(flags, capsys):
    assert command_line.run("classify_folder", flags) == 2
    assert capsys.readouterr().err.startswith("keras-univrep classify_folder: ")


def test_what_a_flag_names_wrongly_is_said(tmp_path, capsys):
    flags = [f"--output_dir={tmp_path}", "--images=/nowhere"]
    assert command_line.run("classify_folder", flags) == 2
    assert "Check the path" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", programs.__all__)
def test_the_program_in_applications_runs(name, tmp_path):
    output = [] if name == "serve" else [f"--output_dir={tmp_path}"]
    process = subprocess.run(
        [sys.executable, str(ROOT / "applications" / f"{name}.py"), "--smoke", *output],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr[-2000:]
    assert name == "serve" or (tmp_path / "results.json").exists()
