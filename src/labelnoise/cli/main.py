"""The command `labelnoise`, also `python -m labelnoise`: a command word and its arguments.

A new word is one line in WORDS. Its function takes the arguments after the word as a list; `labelnoise <word> --help`
prints its module's docstring.
"""

import importlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import labelnoise
from labelnoise.cli.arguments import check_flags, with_config_dirs
from labelnoise.cli.errors import guard
from labelnoise.config.explain import nearest


class Word(NamedTuple):
    """Attributes: function, as module:name in this package; help, one line; flags, the flags with dashes it takes."""

    function: str
    help: str
    flags: tuple[str, ...] = ()


WORDS = {
    "train": Word("cli.train:train", "train one configuration, or many with -m", ("*",)),
    "table": Word("tables.show:show", "print a table of results beside the published numbers"),
    "summary": Word("tables.summary:summary", "mean and standard deviation of any records, grouped by setting"),
    "figures": Word("figures.command:figures", "draw a figure of a paper from records"),
    "report": Word("report.page:report", "write one HTML page from a folder of records"),
    "audit": Word("audit.command:audit", "find the wrong labels of a data set, including your own"),
    "merge": Word("tables.merge:merge", "copy records made elsewhere into a folder of records"),
    "predict": Word("experiment.predict:predict", "classify the test images with a saved network"),
    "noise": Word("cli.noise:noise", "show what a noise does to the labels, and write them to a file"),
    "losscheck": Word("cli.losscheck:losscheck", "print what theory guarantees for a loss", ("--plot", "--all")),
    "track": Word("cli.track:track", "send finished runs to W&B or TensorBoard, from their records"),
    "baseline": Word("cli.baseline:baseline", "the accuracy of plain cross-entropy under the same noise"),
    "parity": Word("cli.parity:parity", "compare bfloat16 with float32, seed by seed"),
    "bench": Word("cli.bench:bench", "measure a training step against the published code's"),
    "bench_threads": Word("cli.bench_threads:bench", "measure training by the number of threads"),
    "bench_convolution": Word("cli.bench_convolution:bench", "measure the 3x3 convolutions against torch's"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake exits with one line and exit code 1.

    Args:
        arguments: default: those of the process.
    """
    word, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if isinstance(sys.stdout, io.TextIOWrapper):
        # tables have ± and †, whatever the terminal's locale, and a path may have bytes that are not UTF-8
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    guard(lambda: _do(word, rest), rest)


def script(word: str) -> None:
    """`python scripts/<word>.py`, which takes what `labelnoise <word>` takes."""
    main([word, *sys.argv[1:]])


def _do(word: str, rest: list[str]) -> None:
    if word in ("-h", "--help", "help"):
        print(listing())
    elif word == "--version":
        print(f"labelnoise {labelnoise.__version__}")
    elif word in ("-sc", "--shell-completion"):
        _complete(rest)
    elif word in WORDS:
        run(word, rest)
    else:
        raise ValueError(f"{word or repr(word)}: no such word{nearest(word, WORDS)}; one of {', '.join(WORDS)}")


def run(word: str, arguments: list[str]) -> None:
    """Call a word's function on the arguments.

    Raises:
        ValueError: the word does not take an argument with dashes; else as the function.
    """
    entry = WORDS[word]
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last, so that the user's own modules shadow no others
    module, _, name = entry.function.partition(":")
    content = importlib.import_module(f"labelnoise.{module}")
    if {"-h", "--help"} & set(arguments) and word != "train":
        print((content.__doc__ or "").strip())
        return
    arguments = with_config_dirs(arguments)
    if "*" not in entry.flags:
        check_flags(arguments, entry.flags)
    getattr(content, name)(arguments)


def listing() -> str:
    """Every word with its help line."""
    width = max(map(len, WORDS)) + 2
    lines = "\n".join(f"  {word:{width}}{entry.help}" for word, entry in WORDS.items())
    return f"""labelnoise: training with noisy labels

  labelnoise train loss=agce noise=asym rate=0.4

{lines}

`labelnoise WORD --help` prints a word's help. Options are written name=value. Every word that takes train's options
takes --config-dir DIR, which adds a folder of your own (DIR/loss/mine.yaml is loss=mine). The working directory is
importable."""


def _complete(rest: list[str]) -> None:
    """Print the shell's completion script, or the completions of the line that is typed."""
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    if any(argument.startswith("query=") for argument in rest):
        if len(typed) < 2 or (len(typed) == 2 and not line.endswith(" ")):
            print(" ".join(word for word in WORDS if word.startswith(" ".join(typed[1:]))))
            return
        os.environ["COMP_LINE"] = line.replace(f" {typed[1]}", "", 1)  # without the word: train's options follow
    run("train", ["--shell-completion", *rest])
