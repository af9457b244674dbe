"""What a method costs: the time of its epochs over that of erm's with ce. Takes train.py's overrides.

labelnoise bench method=divide_mix dataset=digits

Both train from the start in this process and take turns, epoch by epoch, so that a machine whose speed drifts does not
favour either; of every epoch the median over the rounds counts, so that all stages of a method have their share. It
covers everything but evaluation. At most 1,500 images and 10 epochs, of which every stage has its part; epochs=20 gives
others. The last line is one JSON object.
"""

import json
import statistics
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from labelnoise.experiment.check import check
from labelnoise.experiment.run import compose

ROUNDS, IMAGES, EPOCHS = 3, 1500, 10


class Training:
    """A training that is taken an epoch at a time.

    Args:
        overrides: as train.py's.
        count: images of the training set; fewer where the data set has not so many.
    """

    def __init__(self, overrides: list[str], count: int) -> None:
        from labelnoise.bench.sides import Deaf, data
        from labelnoise.experiment.assemble import assemble
        from labelnoise.experiment.components import make_loss, make_regulariser
        from labelnoise.training.device import prepare, settle
        from labelnoise.training.graphs import Steps
        from labelnoise.training.state import TrainState

        cfg = compose(overrides)
        dataset, labels = data(cfg)
        cfg.num_val = max(cfg.num_val, len(labels) - cfg.num_trusted - count)
        place = prepare(cfg.device, cfg.precision, cfg.threads, cfg.deterministic)
        loss = make_loss(cfg, lambda line: None)
        made = assemble(cfg, dataset, labels, loss, place, regulariser=make_regulariser(cfg))
        shape = dataset.train_images.shape[1:]
        self.place = settle(place, cfg.threads, made.method.network, shape, cfg.batch_size)
        self.method, self.truth = made.method, made.yardstick.truth
        self.state, self.steps, self.listener = TrainState(), Steps(made.method), Deaf()

    def epoch(self) -> float:
        """Train one. Returns seconds."""
        from labelnoise.training.loop import train_epoch

        start = time.perf_counter()
        row = train_epoch(self.method, self.state, self.truth, self.steps, self.listener)
        seconds = time.perf_counter() - start
        self.state.end_epoch(row)
        self.method.clock.epoch = self.state.epoch
        return seconds


def plain(overrides: list[str]) -> list[str]:
    """The same training by erm with ce."""
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
    facts: dict[str, Any] = trainings["method"].place.facts()
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
