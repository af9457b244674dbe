"""Several configurations side by side, from Python."""

import copy
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from labelnoise.experiment import records
from labelnoise.experiment.run import run


def run_many(cfgs: Sequence[Any], at_once: int) -> list[records.Record]:
    """Run several configurations side by side, each in a process of its own with one CPU thread.

    Two one-thread runs finish more than two-thread runs one after another, on a CPU or a GPU that one run leaves idle.
    A run that fails lets the others finish. As with any use of processes, call it under `if __name__ == "__main__":`.

    Args:
        cfgs: from `compose`; the records come back in their order, each equal to the same run alone with threads=1
            (on a GPU only with deterministic=true).
        at_once: processes, >= 1; each takes further configurations until there are none left.
    Raises:
        ValueError: at_once is below 1.
        ExceptionGroup: the failures of the runs that failed, after all have ended.
    """
    if at_once < 1:
        raise ValueError(f"at_once={at_once}: must be a whole number, at least 1")
    alone = copy.deepcopy(list(cfgs))
    for cfg in alone:
        cfg.threads = 1
    # spawn: a forked child of a process that has computed cannot compute itself
    with ProcessPoolExecutor(min(at_once, len(cfgs)) or 1, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(run, cfg, quiet=True) for cfg in alone]
    failures = [error for future in futures if isinstance(error := future.exception(), Exception)]
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(cfgs)} runs failed", failures)
    return [future.result() for future in futures]
