"""What every command does with an error: one clear line and exit code 1."""

import os
import sys
from collections.abc import Callable
from typing import Any

from labelnoise.experiment.errors import one_line
from labelnoise.training.threads import wait_briefly


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
