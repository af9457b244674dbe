"""How fast a training step is, against the published code's, measured side by side. Takes train.py's overrides.

python scripts/bench.py network=cnn8 dataset=cifar10 batch_size=128 precision=auto

Each side runs in its own process and they take turns, round after round, so that a machine whose speed drifts does not
favour either; figures are medians over the rounds. Real images where they are there, random ones where not. The last
line is one JSON object. With method=... the method's cost beside erm with ce is measured instead: see bench_method.py.
"""

import itertools
import json
import multiprocessing
import os
import resource
import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

from rich.console import Console
from rich.table import Table

from labelnoise.cli.errors import one_line, script
from labelnoise.experiment.check import check
from labelnoise.experiment.run import compose
from labelnoise.training.threads import WAITING, cores

ROUNDS, SECONDS = 5, 4.0  # rounds, and about how long each side works in one
EVALUATED = 2000  # images in one timing of the evaluation


def ours(cfg: Any) -> dict[str, Any]:
    """This project's step as the trainer takes it: `train(steps)` and `evaluate()`, and what they compute on."""
    import hydra

    from labelnoise.experiment.run import assemble
    from labelnoise.training.device import prepare, settle
    from labelnoise.training.evaluate import confusion_matrix
    from labelnoise.training.graphs import Steps
    from labelnoise.training.loop import train_epoch
    from labelnoise.training.state import TrainState

    place = prepare(cfg.device, cfg.precision, cfg.threads, cfg.deterministic)
    dataset, labels = data(cfg)
    method, yardstick = assemble(cfg, dataset, labels, hydra.utils.instantiate(cfg.loss), place)
    place = settle(place, cfg.threads, method.network, dataset.train_images.shape[1:], cfg.batch_size)
    test = yardstick.test
    evaluated = min(EVALUATED, len(test.labels))
    test = test._replace(images=test.images[:evaluated], labels=test.labels[:evaluated])
    run_step = Steps(method)

    def train(steps: int) -> None:
        feeds = list(itertools.islice(endless(method), steps))
        train_epoch(method, TrainState(feeds=feeds), yardstick.truth, run_step, Deaf())

    def evaluate() -> None:
        confusion_matrix(method, test)

    sizes = {"train_images": len(labels), "test_images": len(dataset.test_labels), "evaluated": evaluated}
    facts = lambda: {**place.facts(), **sizes}  # noqa: E731
    return {"train": train, "evaluate": evaluate, "facts": facts, "shares": lambda: shares(method, cfg)}


class Deaf:
    """A listener that does nothing."""

    def keep(self, state: Any) -> None: ...
    def step(self) -> None: ...
    def epoch(self, row: Any) -> None: ...


def endless(method: Any) -> Any:
    """The feeds of one epoch after another."""
    while True:
        yield from method.feeds()


def shares(method: Any, cfg: Any) -> dict[str, float]:
    """Fractions of a step that data, forward, backward and optimizer take, for a method with one learner."""
    import torch

    learner, spent, steps = method.learner, dict.fromkeys(("data", "forward", "backward", "optimizer"), 0.0), 6
    wait = torch.cuda.synchronize if torch.cuda.is_available() else (lambda: None)
    feeds = endless(method)
    for step in range(steps):
        marks = [time.perf_counter()]

        def mark(marks: list[float] = marks) -> None:
            wait()
            marks.append(time.perf_counter())

        batch = method.train_set.batch(next(feeds).index["train"])
        mark()
        loss = method.loss(learner(batch.images), batch.labels).mean()
        mark()
        learner.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        mark()
        if cfg.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(learner.network.parameters(), cfg.clip_norm)
        learner.optimizer.step()
        mark()
        for name, start, end in zip(spent, marks, marks[1:], strict=False):
            spent[name] += (end - start) * (step > 0)
    return {name: seconds / sum(spent.values()) for name, seconds in spent.items()}


def reference(cfg: Any) -> dict[str, Any]:
    """The published code's step: same network, loss, optimizer and batch size."""
    import hydra
    import reference_pipeline as published  # type: ignore[import-not-found]  # beside this file
    import torch
    from omegaconf import OmegaConf

    torch.set_num_threads(cores() if cfg.threads == "auto" else cfg.threads)
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if cfg.device == "auto" else cfg.device)
    dataset, labels = data(cfg)
    channels, size = dataset.train_images.shape[1], dataset.train_images.shape[-1]
    augment = OmegaConf.to_container(cfg.dataset.augment) if cfg.dataset.augment else None
    network = hydra.utils.instantiate(cfg.network)(dataset.num_classes, channels, size).to(device)
    optimizer = hydra.utils.instantiate(cfg.optimizer)(network.parameters())
    loss = hydra.utils.instantiate(cfg.loss)
    training = published.transform(size, dataset.mean, dataset.std, augment)
    testing = published.transform(size, dataset.mean, dataset.std, None)
    batches = published.loader(published.Pictures(dataset.train_images, labels, training), cfg.batch_size)
    count = min(EVALUATED, len(dataset.test_labels))
    tests = published.loader(published.Pictures(dataset.test_images[:count], dataset.test_labels[:count], testing), 256)
    stream = published.endless(batches)

    def train(steps: int) -> None:
        published.train_steps(stream, steps, network, loss, optimizer, cfg.clip_norm, device)

    def evaluate() -> None:
        published.evaluate(network, tests, len(tests), device)

    facts = lambda: {"evaluated": count}  # noqa: E731
    return {"train": train, "evaluate": evaluate, "facts": facts, "shares": dict}


def data(cfg: Any) -> Any:
    """The data set and its labels; random images of the same shape where the real ones are not there."""
    import torch

    from labelnoise.data.dataset import Dataset
    from labelnoise.experiment.run import inject

    try:
        return inject(cfg)
    except OSError:
        channels, size, classes = {"cifar10": (3, 32, 10), "cifar100": (3, 32, 100)}.get(cfg.dataset.name, (1, 28, 10))
        images = torch.randint(0, 256, (12_000, channels, size, size), dtype=torch.uint8)
        labels = torch.randint(0, classes, (12_000,))
        names, half = tuple(map(str, range(classes))), (0.5,) * channels
        dataset = Dataset(
            f"random {cfg.dataset.name}", images[2000:], labels[2000:], images[:2000], labels[:2000], names, half, half
        )
        return dataset, labels[2000:]


def worker(side: str, overrides: list[str], pipe: Connection) -> None:
    """A process that does what it is told and answers with seconds: ("train", n), ("evaluate",), ("facts",), ..."""
    sys.path.insert(0, os.path.dirname(__file__))  # noqa: PTH120
    try:
        made = {"ours": ours, "reference": reference}[side](compose(overrides))
    except Exception as error:
        pipe.send(one_line(error, overrides))
        return
    pipe.send("")
    while (order := next_order(pipe)) != "end":
        name, *arguments = order
        if name == "facts":
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            pipe.send({**made["facts"](), "peak_gib": peak})
            continue
        start = time.perf_counter()
        answer = made[name](*arguments)
        pipe.send(answer if answer is not None else time.perf_counter() - start)


def next_order(pipe: Connection) -> Any:
    """What to do next: to end, if whoever gives orders is gone."""
    try:
        return pipe.recv()
    except EOFError:
        return "end"


class Side:
    """One side's process.

    Args:
        side: ours or reference.
        overrides: as train.py takes them.
        waiting: how its threads wait, as environment variables in place of those that train.py sets; None: as train.py
            for ours, and as torch comes for the published code.
    """

    def __init__(self, side: str, overrides: list[str], waiting: dict[str, str] | None = None) -> None:
        if waiting is None and side == "reference":
            waiting = {}
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=worker, args=(side, overrides, theirs))
        before = dict(os.environ)
        if waiting is not None:
            for name in WAITING:
                os.environ.pop(name, None)
            os.environ.update(waiting)
        self.process.start()  # reads the environment
        os.environ.clear()
        os.environ.update(before)
        theirs.close()

    def wait(self) -> None:
        """Until it is ready.

        Raises:
            ValueError: an option is wrong.
        """
        if failure := self.pipe.recv():
            raise ValueError(failure)

    def do(self, *order: Any) -> Any:
        """Send an order and wait for its answer."""
        self.pipe.send(order)
        return self.pipe.recv()

    def end(self) -> None:
        self.pipe.send("end")
        self.process.join()


def steps_a_round(side: Side) -> int:
    """Warm up, and find how many steps take about SECONDS."""
    side.do("train", 2)
    return max(4, round(SECONDS / (side.do("train", 3) / 3)))


def measure(overrides: list[str]) -> dict[str, Any]:
    """All figures of the table."""
    cfg = compose(overrides)
    sides = {name: Side(name, overrides) for name in ("reference", "ours")}
    for side in sides.values():
        side.wait()
    counts = {name: steps_a_round(side) for name, side in sides.items()}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    evaluations: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            speeds[name].append(cfg.batch_size * counts[name] / side.do("train", counts[name]))
            evaluations[name].append(side.do("facts")["evaluated"] / side.do("evaluate"))
    found = {
        "speed": {name: statistics.median(values) for name, values in speeds.items()},
        "evaluation": {name: statistics.median(values) for name, values in evaluations.items()},
        "facts": {name: side.do("facts") for name, side in sides.items()},
        "shares": sides["ours"].do("shares"),
    }
    for side in sides.values():
        side.end()
    found["packed"] = packed(overrides, cfg.batch_size)
    return found


def packed(overrides: list[str], batch_size: int) -> float:
    """Images a second of as many one-thread runs side by side as there are cores, together."""
    sides = [Side("ours", [*overrides, "threads=1"]) for _ in range(cores())]
    for side in sides:
        side.wait()
    count = max(4, steps_a_round(sides[0]) // 2)
    for side in sides[1:]:
        side.do("train", 2)
    speeds = []
    for _ in range(ROUNDS):
        for side in sides:
            side.pipe.send(("train", count))
        speeds.append(sum(batch_size * count / side.pipe.recv() for side in sides))
    for side in sides:
        side.end()
    return statistics.median(speeds)


def bench(overrides: list[str]) -> None:
    """Measure, print the table and the JSON line."""
    cfg = compose(overrides)
    check(cfg)
    if not cfg.method._target_.endswith(".ERM"):  # the published code has no such method: beside plain training
        from bench_method import cost  # type: ignore[import-not-found]  # beside this file

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
    hours = {
        side: cfg.epochs
        * (facts["train_images"] / speed[side] + facts["test_images"] / found["evaluation"][side])
        / 3600
        for side in speed
    }
    row(f"{cfg.epochs} epochs, hours", hours["reference"], hours["ours"], ".2f")
    console = Console(width=100)
    console.print(f"{name} on {cfg.dataset.name}, batch {cfg.batch_size}, {facts['precision']}, {facts['device']}")
    console.print(table)
    console.print("a step here: " + ", ".join(f"{part} {share:.0%}" for part, share in found["shares"].items()))
    tests = facts["test_images"] / found["evaluation"]["ours"]
    share = tests / (tests + facts["train_images"] / speed["ours"])
    console.print(f"evaluating every epoch takes {share:.1%} of a run (eval_every spares it)")
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


if __name__ == "__main__":
    script(bench, __doc__)
