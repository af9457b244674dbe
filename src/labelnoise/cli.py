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

from labelnoise.config import CONFIGS, explain
from labelnoise.run import run

# What a user can cause; anything else is a fault of ours and keeps its traceback.
MISTAKES = (HydraException, OmegaConfBaseException, ValueError, OSError, FloatingPointError)


class JobFailed(Exception):  # noqa: N818 (it is a state, not an error of its own)
    """A job of a multirun that has told its reason already."""


def main() -> None:
    """Run the command line; exit with 1 and one line on standard error where an option is wrong."""
    guard(lambda: hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(_job)(), sys.argv[1:])


def guard(action: Callable[[], Any], overrides: list[str]) -> None:
    """Do it; a user's mistake ends the program with one line instead of a traceback (HYDRA_FULL_ERROR=1 shows it)."""
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing its own long answer
    try:
        action()
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was written")
    except JobFailed:
        sys.exit(1)
    except MISTAKES as error:
        if full:
            raise
        sys.exit(f"error: {one_line(error, overrides)}")


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
    if job.mode == RunMode.RUN:
        run(cfg)
        return
    overrides = list(job.overrides.task)
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
