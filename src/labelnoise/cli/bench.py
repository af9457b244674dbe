"""Measure the speed of a training step against the published code's. Takes train's options.

labelnoise bench network=cnn8 dataset=cifar10 batch_size=128 precision=auto

Each side runs in its own process. They take turns, round after round, so that drifts in the machine's speed favour
neither; figures are medians over the rounds. Uses random images if the data set is missing. The last line is one JSON
object. With method=..., measures the method's cost relative to erm with ce instead.
"""

import json
import statistics
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from labelnoise.bench.sides import Side
from labelnoise.config.check import check
from labelnoise.experiment.run import compose
from labelnoise.training.threads import cores

ROUNDS, SECONDS = 5, 4.0  # rounds, and about how long each side works in a round
SIDES = {"reference": "reference", "ours": "here"}  # and their names in what is printed
WARM_UP = {"cpu": 2, "cuda": 16}  # steps; on a GPU the first ones choose cuDNN's algorithms and record a CUDA graph


def steps_a_round(side: Side) -> int:
    """Warm up, and find how many steps take about SECONDS."""
    side.do("train", WARM_UP[side.do("facts")["kind"]])
    steps = 3
    while (seconds := side.do("train", steps)) < SECONDS / 8:
        steps *= 2  # a GPU's steps take about a millisecond: three would be too short to time
    return max(4, round(SECONDS / (seconds / steps)))


def measure(overrides: list[str]) -> dict[str, Any]:
    """All figures of the table."""
    cfg = compose(overrides)
    sides = {name: Side(name, overrides) for name in SIDES}
    counts = {name: steps_a_round(side) for name, side in sides.items()}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    evaluations: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(ROUNDS):
        for name, side in sides.items():
            speeds[name].append(cfg.batch_size * counts[name] / side.do("train", counts[name]))
            evaluations[name].append(side.do("facts")["evaluated"] / side.do("evaluate"))
        done = ", ".join(f"{label} {speeds[name][-1]:,.0f}" for name, label in SIDES.items())
        print(f"round {turn + 1} of {ROUNDS}: {done} images/s", file=sys.stderr, flush=True)
    found = {
        "speed": {name: statistics.median(values) for name, values in speeds.items()},
        "evaluation": {name: statistics.median(values) for name, values in evaluations.items()},
        "facts": {name: side.do("facts") for name, side in sides.items()},
        "shares": sides["ours"].do("shares"),
    }
    for side in sides.values():
        side.end()
    on_cpu = found["facts"]["ours"]["device"] == "cpu"
    found["packed"] = packed(overrides, cfg.batch_size, cores() if on_cpu else 2)
    return found


def packed(overrides: list[str], batch_size: int, count: int) -> float:
    """Total images per second of `count` one-thread runs at once: one on each core, or two on a GPU."""
    sides = [Side("ours", [*overrides, "threads=1"]) for _ in range(count)]
    steps = max(4, steps_a_round(sides[0]) // 2)
    for side in sides[1:]:
        side.do("train", WARM_UP[side.do("facts")["kind"]])
    speeds = []
    for _ in range(ROUNDS):
        for side in sides:
            side.pipe.send(("train", steps))
        speeds.append(sum(batch_size * steps / side.pipe.recv() for side in sides))
    for side in sides:
        side.end()
    return statistics.median(speeds)


def bench(overrides: list[str]) -> None:
    """Measure, print the table and the JSON line."""
    cfg = compose(overrides)
    check(cfg)
    if not cfg.method._target_.endswith(".ERM"):  # the published code has no such method: compare with plain training
        from labelnoise.bench.method import cost

        cost(overrides)
        return
    found = measure(overrides)
    speed, facts = found["speed"], found["facts"]["ours"]
    name = cfg.network._target_.split(".")[-1]
    table = Table("", "reference", "here", "ratio", box=None)

    def row(label: str, theirs: float, mine: float, form: str = ",.0f") -> None:
        table.add_row(label, format(theirs, form), format(mine, form), f"{mine / theirs:.2f}")

    row("training, images/s", speed["reference"], speed["ours"])
    row("training, side by side", speed["reference"], found["packed"])
    row("evaluation, images/s", found["evaluation"]["reference"], found["evaluation"]["ours"])
    row("peak memory, GiB", found["facts"]["reference"]["peak_gib"], facts["peak_gib"], ".2f")
    tests = {side: facts["test_images"] / found["evaluation"][side] for side in speed}  # seconds an epoch
    epoch = {side: facts["train_images"] / speed[side] + tests[side] for side in speed}
    hours = {side: cfg.epochs * epoch[side] / 3600 for side in speed}
    row(f"{cfg.epochs} epochs, hours", hours["reference"], hours["ours"], ".2f")
    console = Console(width=100)
    console.print(f"{name} on {cfg.dataset.name}, batch {cfg.batch_size}, {facts['precision']}, {facts['device']}")
    console.print(table)
    console.print("a step here: " + ", ".join(f"{part} {share:.0%}" for part, share in found["shares"].items()))
    share = tests["ours"] / epoch["ours"]
    console.print(f"evaluating every epoch takes {share:.1%} of a run (a larger eval_every saves it)")
    line = {
        "images_per_second": round(speed["ours"], 1),
        "reference_images_per_second": round(speed["reference"], 1),
        "ratio": round(speed["ours"] / speed["reference"], 3),
        "packed_images_per_second": round(found["packed"], 1),
        "packed_ratio": round(found["packed"] / speed["reference"], 3),
        "device": facts["device"],
        "network": name,
        "precision": facts["precision"],
        "threads": facts["threads"],
    }
    print(json.dumps(line))
