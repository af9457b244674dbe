"""The command line in this process, and a signal in the middle of a run."""

import os
import signal
import sys
from typing import NamedTuple

import pytest

from labelnoise.cli import main as cli
from labelnoise.experiment.progress import Quiet


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def exit_code() -> int:
    """Run the command line on sys.argv, and print what a program that ends with a text prints."""
    try:
        cli.main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGTERM) -> None:
    """Send this process a signal in the middle of the n-th step of the next run, counted over epochs."""
    taken = 0

    class Interrupted(Quiet):
        def step(self) -> None:
            nonlocal taken
            taken += 1
            if taken == step:
                os.kill(os.getpid(), number)

    monkeypatch.setattr("labelnoise.experiment.run.show", lambda *_: Interrupted())
