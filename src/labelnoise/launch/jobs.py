"""A job, its outcome, and the lines that are printed about them."""

import shlex
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from labelnoise.config.subcommands import command
from labelnoise.experiment.progress import duration

SEEDS = ("seed=", "seed_noise=", "seed_init=", "seed_data=")


class Job(NamedTuple):
    """One run of a multirun.

    Attributes:
        number: its number in the multirun.
        overrides: with which `train.py` runs it alone.
        name: the overrides that distinguish it from the other jobs.
    """

    number: int
    overrides: tuple[str, ...]
    name: str


class Outcome(NamedTuple):
    """What became of a job.

    Attributes:
        status: done, failed, or missing (never tried, or stopped).
        reason: why it failed.
        accuracy: on the test set, after the last epoch.
        seconds: its duration.
    """

    job: Job
    status: str
    reason: str = ""
    accuracy: float | None = None
    seconds: float = 0.0


def make_jobs(overrides: Sequence[Sequence[str]], first: int) -> list[Job]:
    """Jobs numbered from `first`, each named by the overrides that not all jobs share."""
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
    """How many jobs are done, failed and missing; for each failed job, the reason and the command to repeat it."""
    count = Counter(outcome.status for outcome in outcomes)
    lines = [f"done {count['done']}, failed {count['failed']}, missing {count['missing']}"]
    for outcome in outcomes:
        if outcome.status == "failed":
            lines += [f"failed: {outcome.job.name}: {outcome.reason}", f"  {command_of(outcome.job)}"]
    return "\n".join(lines)


def over_seeds(outcomes: Sequence[Outcome]) -> str:
    """One line for each setting that ran with several seeds: last test accuracy, mean ± standard deviation (runs).

    A setting is a job's overrides without its seeds. Empty if none ran with several.
    """
    found: dict[tuple[str, ...], list[float]] = {}
    for outcome in outcomes:
        setting = tuple(o for o in outcome.job.overrides if not o.lstrip("+").startswith(SEEDS))
        if outcome.status == "done" and outcome.accuracy is not None:
            found.setdefault(setting, []).append(100 * outcome.accuracy)
    if all(len(values) < 2 for values in found.values()):
        return ""
    names = [job.name for job in make_jobs(list(found), 0)] if len(found) > 1 else ["all runs"]
    width = max(map(len, names))
    lines = [f"  {name:{width}}  {spread(values)}" for name, values in zip(names, found.values(), strict=True)]
    return "\n".join(["last test accuracy over the seeds, mean ± standard deviation (runs):", *lines])


def spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation (count); without the deviation for a single value."""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation} ({len(values)})"


def command_of(job: Job) -> str:
    """The command line that runs the job alone."""
    return f"{command('train')} {shlex.join(job.overrides)}"
