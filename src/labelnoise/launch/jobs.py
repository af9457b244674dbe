"""What is handed out and what comes back, and how both are told."""

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from labelnoise.experiment import groups
from labelnoise.experiment.progress import duration


class Job(NamedTuple):
    """Attributes: number; overrides, which `train.py` takes to run it alone; name, what tells it from the others."""

    number: int
    overrides: tuple[str, ...]
    name: str


class JobFailed(Exception):  # noqa: N818 (it is a state, not an error of its own)
    """What Hydra is told of a job that failed; the reason is its text."""


class Outcome(NamedTuple):
    """Attributes: status, done, failed or missing (never tried, or stopped); why it failed; last test accuracy."""

    job: Job
    status: str
    reason: str = ""
    accuracy: float | None = None
    seconds: float = 0.0


def make_jobs(overrides: Sequence[Sequence[str]], first: int) -> list[Job]:
    """Jobs numbered from `first`, each named by those of its overrides that not all of them have."""
    shared = set(overrides[0]).intersection(*overrides) if len(overrides) > 1 else set()
    return [
        Job(first + i, tuple(one), " ".join(o for o in one if o not in shared) or " ".join(one))
        for i, one in enumerate(overrides)
    ]


def line(outcome: Outcome, finished: int, total: int, left: float) -> str:
    """One finished job in one line: number/total, name, last accuracy, seconds, time left."""
    accuracy = "" if outcome.accuracy is None else f"  test {outcome.accuracy:.2%}"
    more = f"  {duration(left)} left" if finished < total else ""
    return f"[{finished:{len(str(total))}}/{total}] {outcome.job.name}{accuracy}  {outcome.seconds:.1f} s{more}"


def summary(outcomes: Sequence[Outcome]) -> str:
    """The end: how many are done, failed and missing, and for each that failed the reason and the command."""
    count = Counter(outcome.status for outcome in outcomes)
    lines = [f"done {count['done']}, failed {count['failed']}, missing {count['missing']}"]
    for outcome in outcomes:
        if outcome.status == "failed":
            lines += [f"failed: {outcome.job.name}: {outcome.reason}", f"  {command(outcome.job)}"]
    return "\n".join(lines)


def command(job: Job) -> str:
    """What to type to run the job alone."""
    return f"{groups.command('train')} {shlex.join(job.overrides)}"
