"""The cost of a method: the time of its epochs divided by that of erm with ce. Takes train's options.

labelnoise bench method=divide_mix dataset=digits

Both train from scratch in this process and take turns, epoch by epoch, so that drifts in the machine's speed favour
neither. The cost is the mean over the epochs of each epoch's median over the rounds, so that all stages of a method
count. It includes everything but evaluation. Uses at most 1,500 images and 10 epochs, in which every stage occurs;
epochs=20 changes that. The last line is one JSON object.
"""

import json
import statistics
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from labelnoise.config.check import check
from labelnoise.experiment.run import compose

ROUNDS, IMAGES, EPOCHS = 3, 1500, 10


class Training:
    """A training run that advances one epoch at a time.

    Args:
        overrides: as for train.py.
        count: number of training images; fewer if the data set has fewer.
    """

    def __init__(self, overrides: list[str], count: int) -> None:
        from labelnoise.bench.sides import data
        from labelnoise.experiment.assemble import assemble
        from labelnoise.experiment.components import make_components
        from labelnoise.training.device import choose_threads
        from labelnoise.training.graphs import Steps
        from labelnoise.training.state import TrainState

        cfg = compose(overrides)
        dataset, labels = data(cfg)
        cfg.num_val = max(cfg.num_val, len(labels) - cfg.num_trusted - count)
        components = make_components(cfg)
        made = assemble(cfg, dataset, labels, components)
        shape = dataset.train_images.shape[1:]
        self.runtime = choose_threads(components.runtime, cfg.threads, made.method.network, shape, cfg.batch_size)
        self.method, self.truth = made.method, made.evaluation.truth
        self.state, self.steps = TrainState(), Steps(made.method)

    def epoch(self) -> float:
        """Train one epoch. Returns seconds."""
        from labelnoise.training.loop import train_epoch

        start = time.perf_counter()
        row = train_epoch(self.method, self.state, self.truth, self.steps)
        seconds = time.perf_counter() - start
        self.state.end_epoch(row)
        self.method.clock.epoch = self.state.epoch
        return seconds


def plain(overrides: list[str]) -> list[str]:
    """The same training run by erm with ce."""
    others = [o for o in overrides if not o.lstrip("+~").startswith(("method=", "method.", "loss=", "loss.", "tuned."))]
    return [*others, "method=erm", "loss=ce"]


def cost(overrides: list[str]) -> None:
    """Measure, print the table and the JSON line."""
    if not any(o.startswith("epochs=") for o in overrides):
        overrides = [*overrides, f"epochs={min(EPOCHS, compose(overrides).epochs)}"]
    if not any(o.startswith("threads=") for o in overrides):
        overrides = [*overrides, "threads=1"]
    cfg = compose(overrides)
    check(cfg)
    both = {"erm with ce": plain(overrides), "method": overrides}
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in range(cfg.epochs)] for name in both}
    for _ in range(ROUNDS):
        trainings = {name: Training(mine, IMAGES) for name, mine in both.items()}
        for epoch in range(cfg.epochs):
            for name, training in trainings.items():
                seconds[name][epoch].append(training.epoch())
    means = {name: statistics.mean(map(statistics.median, epochs)) for name, epochs in seconds.items()}
    ratio = means["method"] / means["erm with ce"]
    facts: dict[str, Any] = trainings["method"].runtime.facts()
    name, network = (str(cfg[part]._target_).split(".")[-1] for part in ("method", "network"))
    table = Table("", "seconds an epoch", "cost", box=None)
    table.add_row("erm with ce", f"{means['erm with ce']:.3f}", "1.00")
    table.add_row(name, f"{means['method']:.3f}", f"{ratio:.2f}")
    count = len(trainings["method"].method.train_set)
    console = Console(width=100)
    console.print(f"{network} on {count} images of {cfg.dataset.name}, {facts['precision']}, {facts['device']}")
    console.print(table)
    line = {
        "method": name,
        "cost": round(ratio, 3),
        "seconds_an_epoch": round(means["method"], 4),
        "erm_seconds_an_epoch": round(means["erm with ce"], 4),
        "images": count,
        "epochs": cfg.epochs,
        "device": facts["device"],
        "network": network,
        "precision": facts["precision"],
        "threads": facts["threads"],
    }
    print(json.dumps(line))
