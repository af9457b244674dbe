"""What every command does with an error: one clear line and exit code 1, and no dashes before options."""

import os
import sys
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

from labelnoise.experiment.explain import explain
from labelnoise.experiment.groups import option_names
from labelnoise.files.claims import Claimed

# Hydra's own flags; those that take a value may have it after them.
FLAGS = {
    *("--help", "-h", "--hydra-help", "--version", "--run", "-r", "--multirun", "-m", "--resolve", "--info"),
    *("--shell-completion", "-sc", "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun"),
}


class JobFailed(Exception):  # noqa: N818 (it is a state, not an error of its own)
    """A job of a multirun that has told its reason already."""


def check_flags(arguments: list[str]) -> None:
    """Say how options are written to whoever writes --loss=agce or --epochs 5.

    Raises:
        ValueError: an argument with dashes that is no flag of Hydra's.
    """
    for argument in arguments:
        flag, _, value = argument.partition("=")
        if flag.startswith("-") and flag not in FLAGS:
            name = flag.lstrip("-")
            if name.split(".")[0] in option_names():
                raise ValueError(f"{argument}: options have no dashes; write {name}={value or '...'}")
            raise ValueError(f"{argument}: no such flag; options are written name=value, and --help lists them")


def guard(action: Callable[[], Any], overrides: list[str]) -> None:
    """Do it; an error ends the program with one line and exit code 1 (LABELNOISE_TRACEBACK=1 shows the traceback)."""
    asked = os.environ.get("HYDRA_FULL_ERROR", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing its own long answer
    try:
        action()
    except KeyboardInterrupt:
        sys.exit("interrupted; no record was written")
    except JobFailed:
        sys.exit(1)
    except BrokenPipeError:  # whoever read the output has seen enough, as `| head` has: nothing to tell, and nobody
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("LABELNOISE_TRACEBACK"):
            raise
        sys.exit(f"error: {one_line(error, overrides)}")
    finally:
        os.environ["HYDRA_FULL_ERROR"] = asked


def script(action: Callable[[list[str]], Any], doc: str | None) -> None:
    """Run a script of scripts/ on the command line's arguments; --help prints what its file says it is."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print((doc or "").strip())
        return
    guard(lambda: action(arguments), arguments)


def one_line(error: Exception, overrides: list[str]) -> str:
    """The error in one line; what no user should be able to cause names its kind and how to see where it was raised."""
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, HydraException | OmegaConfBaseException):
        return explain(error, overrides)
    text = " ".join(str(error).split())
    if isinstance(error, ValueError | OSError | FloatingPointError | MemoryError | Claimed) and text:
        return text
    return f"{type(error).__name__}: {text[:300]} (LABELNOISE_TRACEBACK=1 shows where)"
