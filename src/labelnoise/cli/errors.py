"""What every command does with an error: one clear line and exit code 1."""

import os
import sys
from collections.abc import Callable
from typing import Any

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

from labelnoise.experiment.explain import explain
from labelnoise.files.claims import Claimed
from labelnoise.files.text import plain
from labelnoise.training.threads import wait_briefly

LONGEST = 2000  # characters of a message; some list every option of a group


class JobFailed(Exception):  # noqa: N818 (it is a state, not an error of its own)
    """A job of a multirun that has told its reason already."""


def guard(action: Callable[[], Any], overrides: list[str]) -> None:
    """Do it; an error ends the program with one line and exit code 1 (LABELNOISE_TRACEBACK=1 shows the traceback)."""
    wait_briefly()
    asked = os.environ.get("HYDRA_FULL_ERROR", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing its own long answer
    try:
        action()
    except KeyboardInterrupt:
        sys.exit("interrupted; no record was written")
    except JobFailed:
        sys.exit(1)
    except BrokenPipeError:  # the reader closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("LABELNOISE_TRACEBACK"):
            raise
        sys.exit(f"error: {one_line(error, overrides)}")
    finally:
        os.environ["HYDRA_FULL_ERROR"] = asked


def one_line(error: Exception, overrides: list[str]) -> str:
    """The error in one line; what no user should be able to cause names its kind and how to see where it was raised."""
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, HydraException | OmegaConfBaseException):
        return plain(explain(error, overrides), LONGEST)
    text = plain(str(error), LONGEST)
    if isinstance(error, ValueError | OSError | FloatingPointError | MemoryError | Claimed) and text:
        return text
    return f"{type(error).__name__}: {text[:300]} (LABELNOISE_TRACEBACK=1 shows where)"
