"""The local launcher without Hydra: checks the options, runs the jobs, prints the summary."""

import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge

from labelnoise.arguments.ranges import refusal
from labelnoise.files.atomic import check_writable
from labelnoise.launch.driver import drive
from labelnoise.launch.jobs import Job, Outcome, make_jobs, over_seeds, summary
from labelnoise.launch.pool import slots
from labelnoise.training.signals import STOPPED


def check_options(n_jobs: Any, jobs_per_gpu: Any) -> None:
    """Refuse values out of range.

    Raises:
        ValueError: names the option, its value and what is allowed.
    """
    whole = Annotated[int, Ge(1)]
    for name, kind, value in (("n_jobs", Literal["auto"] | whole, n_jobs), ("jobs_per_gpu", whole, jobs_per_gpu)):
        if reason := refusal(kind, value):
            raise ValueError(f"hydra.launcher.{name}={value}: {reason}")


def launch(
    overrides: Sequence[Sequence[str]],
    first: int,
    compose: Callable[[Job], str],
    n_jobs: int | str,
    jobs_per_gpu: int,
    device: str,
    results: str,
    means: bool,
) -> list[Outcome]:
    """Run jobs in worker processes on this machine and print a summary. Returns their outcomes, in order.

    Args:
        means: print the means over the seeds too.
    Raises:
        ValueError, OSError: jobs cannot be run, or no longer. The summary is printed first.
        SystemExit: stopped by SIGTERM or SIGINT, with exit code 75.
    """
    if not overrides:
        return []
    jobs = make_jobs(overrides, first)
    places = slots(n_jobs, jobs_per_gpu, device)
    ended = drive(jobs, compose, places, lambda: check_writable(results))
    print(summary(ended.outcomes), flush=True)
    if means and (lines := over_seeds(ended.outcomes)):
        print(lines, flush=True)
    if ended.stopped:
        print("stopped; the same command resumes", file=sys.stderr, flush=True)
        sys.exit(STOPPED)
    if ended.error is not None:
        raise ended.error
    return ended.outcomes
