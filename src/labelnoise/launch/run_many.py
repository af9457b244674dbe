"""Run several configurations in parallel, from Python."""

import copy
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from labelnoise.experiment.run import run
from labelnoise.records import store


def run_many(cfgs: Sequence[Any], at_once: int) -> list[store.Record]:
    """Run several configurations in parallel, each in its own process with one CPU thread.

    On a CPU, or a GPU that one run leaves partly idle, two one-thread runs at once are faster than two two-thread runs
    one after the other. A run that fails lets the others finish. As with all processes started by spawn, call it under
    `if __name__ == "__main__":`.

    Args:
        cfgs: from `compose`.
        at_once: number of processes, >= 1.
    Returns:
        the records, in the order of `cfgs`. Each equals that of the same run alone with threads=1 (on a GPU only with
        deterministic=true).
    Raises:
        ValueError: at_once is below 1.
        ExceptionGroup: the exceptions of the runs that failed, raised after all runs have ended.
    """
    if at_once < 1:
        raise ValueError(f"at_once={at_once}: must be a whole number, at least 1")
    one_threaded = copy.deepcopy(list(cfgs))
    for cfg in one_threaded:
        cfg.threads = 1
    # spawn: OpenMP's threads do not survive a fork, so a forked child of a process that has computed cannot compute
    with ProcessPoolExecutor(min(at_once, len(cfgs)) or 1, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(run, cfg, quiet=True) for cfg in one_threaded]
    failures = [error for future in futures if isinstance(error := future.exception(), Exception)]
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(cfgs)} runs failed", failures)
    return [future.result() for future in futures]
