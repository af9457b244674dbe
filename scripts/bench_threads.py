"""How fast training is by the number of threads and by how they wait, idle or beside busy processes.

python scripts/bench_threads.py dataset=digits loss=nce_agce noise=sym rate=0.4 busy=1

Takes train's options, and busy=N (default 0): so many processes that compute for ever are started beside it. Each
variant runs in its own process and they take turns, round after round; figures are medians over the rounds. `auto` is
what `train` does when it starts beside them. The last line is one JSON object.
"""

import json
import multiprocessing
import os
import statistics
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from labelnoise.bench.sides import Side
from labelnoise.cli.bench import ROUNDS
from labelnoise.cli.errors import guard
from labelnoise.config.check import check
from labelnoise.experiment.run import compose
from labelnoise.training.threads import cores

SECONDS = 1.5  # about how long the one-thread variant works in a round


def variants() -> dict[str, tuple[str, dict[str, str] | None]]:
    """Name -> the threads option and how threads wait (None: as `train` has it)."""
    every = f"threads={cores()}"
    return {
        "auto": ("threads=auto", None),
        "one thread": ("threads=1", {}),
        "every core, spinning (torch as it comes)": (every, {}),
        "every core, spinning 170 µs": (every, {"GOMP_SPINCOUNT": "10000"}),
        "every core, spinning 20 µs": (every, {"GOMP_SPINCOUNT": "1000"}),
        "every core, asleep at once": (every, {"OMP_WAIT_POLICY": "passive"}),
    }


def busy() -> None:
    """Compute until killed."""
    while True:
        pass


def bench(arguments: list[str]) -> None:
    """Measure, print the table and the JSON line."""
    own = [argument for argument in arguments if argument.startswith("busy=")]
    overrides = [argument for argument in arguments if argument not in own]
    beside = own[-1].partition("=")[2] if own else "0"
    if not beside.isdigit() or int(beside) > 64:
        raise ValueError(f"busy={beside}: must be a whole number from 0 to 64")
    cfg = compose(overrides)
    check(cfg)
    hogs = [multiprocessing.get_context("spawn").Process(target=busy, daemon=True) for _ in range(int(beside))]
    sides: dict[str, Side] = {}
    try:
        for hog in hogs:
            hog.start()
        for name, (threads, waiting) in variants().items():
            sides[name] = Side("ours", [*overrides, threads], waiting)
        for side in sides.values():
            side.do("train", 3)
        count = max(2, round(SECONDS / (sides["one thread"].do("train", 3) / 3)))
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        loads = []
        for _ in range(ROUNDS):
            for name, side in sides.items():
                speeds[name].append(cfg.batch_size * count / side.do("train", count))
            loads.append(os.getloadavg()[0])
        used = {name: side.do("facts")["threads"] for name, side in sides.items()}
    finally:
        for hog in hogs:
            hog.terminate()
        for side in sides.values():
            side.end()
    show(cfg, {name: statistics.median(values) for name, values in speeds.items()}, used, int(beside), loads)


def show(cfg: Any, speed: dict[str, float], threads: dict[str, int], beside: int, loads: list[float]) -> None:
    """Print what was measured."""
    table = Table("", "threads", "images/s", "beside one thread's", box=None)
    for name, value in speed.items():
        table.add_row(name, str(threads[name]), f"{value:,.0f}", f"{value / speed['one thread']:.2f}")
    console = Console(width=100)
    console.print(
        f"{cfg.network._target_.split('.')[-1]} on {cfg.dataset.name}, batch {cfg.batch_size}, {cores()} cores, "
        f"{beside} busy processes started, load average {min(loads):.1f} to {max(loads):.1f}"
    )
    console.print(table)
    line = {"busy": beside, "cores": cores(), "load": round(statistics.median(loads), 1), "threads": threads["auto"]}
    print(json.dumps({**line, "images_per_second": {name: round(value, 1) for name, value in speed.items()}}))


if __name__ == "__main__":
    guard(lambda: bench(sys.argv[1:]), sys.argv[1:])
