"""The command `keras-univrep`: lists the programs and runs them, with flags of their arguments."""

import inspect
import logging
import re
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

from keras_univrep import programs


def run(program: str, arguments: Sequence[str] | None = None) -> int:
    """Runs a program with flags, one for each argument of its function.

    Args:
        program: Name of a function of `keras_univrep.programs`.
        arguments: The command line behind the program's name; the process's own by default.

    Returns:
        0, or 2 if the flags or what they name are wrong, said on standard error.

    Raises:
        ImportError: If absl is not installed.
    """
    flags = _absl_flags()
    function = getattr(programs, program)
    values = flags.FlagValues()
    names = _define(flags, function, values)
    line = list(sys.argv[1:] if arguments is None else arguments)
    if "--help" in line or "-h" in line:
        sys.stdout.write(_help(program, function, values))
        return 0
    try:
        rest = values([program, *line])[1:]
        if rest:
            raise flags.Error(f"Unexpected {rest}; flags are given as --name=value.")
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        function(**{name: values[name].value for name in names})
    except (flags.Error, FileNotFoundError, ValueError, ImportError) as error:
        sys.stderr.write(f"keras-univrep {program}: {error}\n")
        return 2
    return 0


def main() -> int:
    """Runs what the command line names, or lists the programs."""
    program = sys.argv[1] if len(sys.argv) > 1 else ""
    if program in programs.__all__:
        return run(program, sys.argv[2:])
    known = "\n".join(
        f"  {name:<16} {_first_line(getattr(programs, name))}" for name in programs.__all__
    )
    text = f"usage: keras-univrep PROGRAM --flag=value ...  (PROGRAM --help lists flags)\n{known}\n"
    if program in ("", "-h", "--help"):
        sys.stdout.write(text)
        return 0
    sys.stderr.write(f"keras-univrep: there is no program {program!r}\n{text}")
    return 2


def _absl_flags() -> types.ModuleType:
    try:
        from absl import flags
    except ImportError as error:
        raise ImportError(
            "`keras-univrep` reads its flags with absl. Received: an installation without it. "
            "Run `pip install 'keras_univrep[recipes,data]'`."
        ) from error
    return flags


def _define(flags: Any, function: Callable[..., Any], values: Any) -> list[str]:
    """Defines a flag for each argument that can be written on a command line."""
    words = _words(function)
    makers = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }
    hints, names = typing.get_type_hints(function), []
    for name, parameter in inspect.signature(function).parameters.items():
        kind = [part for part in typing.get_args(hints[name]) if part is not type(None)]
        kind = kind[0] if isinstance(hints[name], types.UnionType) and kind else hints[name]
        required = parameter.default is inspect.Parameter.empty
        default = None if required else parameter.default
        if typing.get_origin(kind) is not None and default == ():
            flags.DEFINE_list(name, [], words[name], flag_values=values)
        elif kind in makers:
            makers[kind](name, default, words[name], flag_values=values)
        else:
            continue
        names.append(name)
        if required:
            flags.mark_flag_as_required(name, flag_values=values)
    return names


def _words(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstring says of each argument."""
    text = inspect.getdoc(function) or ""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text, re.M | re.S)
    found = re.findall(
        r"^    (\w+): (.*?)(?=^    \w+: |\Z)", section[1] if section else "", re.M | re.S
    )
    return {name: " ".join(words.split()) for name, words in found}


def _first_line(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").splitlines()[0]


def _help(program: str, function: Callable[..., Any], values: Any) -> str:
    lines = "\n".join(
        f"  --{name}: {values[name].help} ({values[name].value!r})" for name in sorted(values)
    )
    return f"keras-univrep {program}: {_first_line(function)}\n\n{lines}\n"


if __name__ == "__main__":
    sys.exit(main())
