"""The command `labelnoise`, also `python -m labelnoise`: a subcommand and its arguments.

A subcommand is a file of this package with a function of its name, and a line in `config/subcommands.py`. The function
takes the arguments as a list; `labelnoise <subcommand> --help` prints the file's docstring.
"""

import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import labelnoise
from labelnoise.cli.arguments import check_flags, with_config_dirs
from labelnoise.cli.errors import guard
from labelnoise.cli.help import columns
from labelnoise.config.explain import nearest
from labelnoise.config.subcommands import FOR_DEVELOPERS, SUBCOMMANDS


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake exits with one line and exit code 1.

    Args:
        arguments: default: those of the process.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if isinstance(sys.stdout, io.TextIOWrapper):
        # tables have ± and †, whatever the terminal's locale, and a path may have bytes that are not UTF-8
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    guard(lambda: _do(name, rest), rest)


def _do(name: str, rest: list[str]) -> None:
    if name in ("-h", "--help", "help"):
        print(listing())
    elif name == "--version":
        print(f"labelnoise {labelnoise.__version__}")
    elif name in ("-sc", "--shell-completion"):
        _complete(rest)
    elif name in SUBCOMMANDS:
        run(name, rest)
    elif name in FOR_DEVELOPERS:
        raise ValueError(f"{name}: is a script now, python scripts/{name}.py in a checkout")
    else:
        known = f"no such subcommand{nearest(name, SUBCOMMANDS)}; one of {', '.join(SUBCOMMANDS)}"
        raise ValueError(f"{name or repr(name)}: {known}")


def run(name: str, arguments: list[str]) -> None:
    """Call a subcommand's function on the arguments.

    Raises:
        ValueError: it does not take an argument with dashes; else as the function.
    """
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that the user's own modules shadow no others
    module = importlib.import_module(f"labelnoise.cli.{name}")
    if {"-h", "--help"} & set(arguments) and name != "train":
        print((module.__doc__ or "").strip())
        return
    arguments = with_config_dirs(arguments)
    flags = SUBCOMMANDS[name].flags
    if "*" not in flags:
        check_flags(arguments, flags)
    getattr(module, name)(arguments)


def listing() -> str:
    """Every subcommand with its help line."""
    lines = columns((name, subcommand.help) for name, subcommand in SUBCOMMANDS.items())
    return f"""labelnoise: training with noisy labels

  labelnoise train loss=agce noise=asym rate=0.4

{lines}

`labelnoise SUBCOMMAND --help` prints its help. Options are written name=value. Every subcommand that takes train's
options or a table takes --config-dir DIR, which adds a folder of your own (DIR/loss/mine.yaml is loss=mine). The
working directory is importable."""


def _complete(rest: list[str]) -> None:
    """Print the shell's completion script, or the completions of the line that is typed."""
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    if any(argument.startswith("query=") for argument in rest):
        if len(typed) < 2 or (len(typed) == 2 and not line.endswith(" ")):
            print(" ".join(name for name in SUBCOMMANDS if name.startswith(" ".join(typed[1:]))))
            return
        os.environ["COMP_LINE"] = line.replace(f" {typed[1]}", "", 1)  # without the subcommand: train's options follow
    run("train", ["--shell-completion", *rest])
