"""How many of the cores that this process may use are free of other processes' work."""

import os
import time
from pathlib import Path
from typing import NamedTuple

SHORTEST = 0.25  # seconds between two measurements: the kernel counts in hundredths


class Usage(NamedTuple):
    """Seconds since some moment. Attributes: passed; idle, summed over the usable cores; used by this process."""

    passed: float
    idle: float
    own: float


def usage(stat: Path = Path("/proc/stat")) -> Usage | None:  # a path for the tests
    """The kernel's counters, or None if they are not available (on any system but Linux)."""
    try:
        usable = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        lines = [line.split() for line in stat.read_text().splitlines()]
        ticks = sum(int(line[4]) + int(line[5]) for line in lines if line[0] in usable)  # idle and iowait
        return Usage(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), time.process_time())
    except (AttributeError, OSError, ValueError, IndexError):
        return None


def free_cores(before: Usage | None) -> float:
    """Cores that were idle or used by this process between `before` and now; inf if the kernel has no counters.

    Waits until the two measurements are SHORTEST apart.
    """
    if before is None:
        return float("inf")
    time.sleep(max(0.0, before.passed + SHORTEST - time.monotonic()))
    now = usage()
    if now is None:
        return float("inf")
    return (now.idle - before.idle + now.own - before.own) / (now.passed - before.passed)
