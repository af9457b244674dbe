"""The command line of train.py: Hydra's, with one clear line for a user's mistake and an honest exit code."""

import os
import sys
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from labelnoise.config import CONFIGS, explain, option_names
from labelnoise.run import run

# What a user can cause; anything else is a fault of ours and keeps its traceback.
MISTAKES = (HydraException, OmegaConfBaseException, ValueError, OSError, FloatingPointError)


class JobFailed(Exception):  # noqa: N818 (it is a state, not an error of its own)
    """A job of a multirun that has told its reason already."""


def main() -> None:
    """Run the command line; exit with 1 and one line on standard error where an option is wrong."""
    train = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(_job)

    def action() -> None:
        refuse_dashes(sys.argv[1:])
        train()

    guard(action, sys.argv[1:])


def refuse_dashes(arguments: list[str]) -> None:
    """Say how options are written to whoever writes --loss=agce or --epochs 5.

    Raises:
        ValueError: an argument is an option of ours with dashes before it.
    """
    for argument in arguments:
        name, _, value = argument.lstrip("-").partition("=")
        if argument.startswith("-") and name.split(".")[0] in option_names():
            raise ValueError(f"{argument}: options have no dashes; write {name}={value or '...'}")


def guard(action: Callable[[], Any], overrides: list[str]) -> None:
    """Do it; a user's mistake ends the program with one line, not a traceback (LABELNOISE_TRACEBACK=1 shows that)."""
    asked = os.environ.get("HYDRA_FULL_ERROR", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing its own long answer
    try:
        action()
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was written")
    except JobFailed:
        sys.exit(1)
    except MISTAKES as error:
        if os.environ.get("LABELNOISE_TRACEBACK"):
            raise
        sys.exit(f"error: {one_line(error, overrides)}")
    finally:
        os.environ["HYDRA_FULL_ERROR"] = asked


def one_line(error: Exception, overrides: list[str]) -> str:
    """The mistake in one line."""
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, HydraException | OmegaConfBaseException):
        return explain(error, overrides)
    return " ".join(str(error).split()) or type(error).__name__


def _job(cfg: DictConfig) -> None:
    """One run. In a multirun a job that fails says why and lets the others go on."""
    job = HydraConfig.get()
    overrides = list(job.overrides.task)
    if job.mode == RunMode.RUN:
        # Here and not in main(): Hydra adds a line of its own to every exception that leaves a job.
        guard(lambda: run(cfg), overrides)
        return
    print(f"--- job {job.job.num}: {' '.join(overrides)}", flush=True)
    try:
        run(cfg)
    except MISTAKES as error:
        print(
            f"error: job {job.job.num} ({' '.join(overrides)}): {one_line(error, overrides)}",
            file=sys.stderr,
            flush=True,
        )
        raise JobFailed from None
