"""How every command reports an error: one clear line and exit code 1."""

import os
import sys
from collections.abc import Callable
from typing import Any

from labelnoise.config.errors import one_line
from labelnoise.training.threads import wait_briefly


class JobFailed(Exception):  # noqa: N818 (it is a state, not an error of its own)
    """A job of a multirun failed; its reason has already been printed."""


def guard(action: Callable[[], Any], overrides: list[str]) -> None:
    """Run `action`. An error exits with one line and exit code 1 (LABELNOISE_TRACEBACK=1 shows the traceback)."""
    wait_briefly()
    before = os.environ.get("HYDRA_FULL_ERROR", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its exceptions instead of printing its own long message
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
        os.environ["HYDRA_FULL_ERROR"] = before
