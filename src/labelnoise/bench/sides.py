"""Both sides of the benchmark: this project's training step and the published code's, each in its own process."""

import itertools
import multiprocessing
import os
import resource
import time
from multiprocessing.connection import Connection
from typing import Any

from labelnoise.config.compose import compose
from labelnoise.config.errors import one_line
from labelnoise.training.threads import WAITING, cores

EVALUATED = 2000  # images in one timing of the evaluation


def ours(cfg: Any) -> dict[str, Any]:
    """This project's step, as in training: `train(steps)`, `evaluate()`, and facts about device and data."""
    from labelnoise.experiment.assemble import assemble
    from labelnoise.experiment.components import make_components
    from labelnoise.training.device import choose_threads
    from labelnoise.training.evaluate import confusion_matrix
    from labelnoise.training.graphs import Steps
    from labelnoise.training.loop import train_epoch
    from labelnoise.training.state import TrainState

    components = make_components(cfg)
    dataset, labels = data(cfg)
    method, evaluation = assemble(cfg, dataset, labels, components)
    runtime = choose_threads(
        components.runtime, cfg.threads, method.network, dataset.train_images.shape[1:], cfg.batch_size
    )
    test = evaluation.test
    evaluated = min(EVALUATED, len(test.labels))
    test = test._replace(images=test.images[:evaluated], labels=test.labels[:evaluated])
    run_step = Steps(method, cfg.graphs == "auto")

    def train(steps: int) -> None:
        feeds = list(itertools.islice(endless(method), steps))
        train_epoch(method, TrainState(feeds=feeds), evaluation.truth, run_step)

    def evaluate() -> None:
        confusion_matrix(method, test)

    sizes = {"train_images": len(labels), "test_images": len(dataset.test_labels), "evaluated": evaluated}
    facts = lambda: {**runtime.facts(), **sizes, "kind": runtime.device.type}  # noqa: E731
    return {"train": train, "evaluate": evaluate, "facts": facts, "shares": lambda: shares(method, cfg)}


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
    import torch
    from omegaconf import OmegaConf

    from labelnoise.bench import published

    torch.set_num_threads(cores() if cfg.threads == "auto" else cfg.threads)
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if cfg.device == "auto" else cfg.device)
    dataset, labels = data(cfg)
    channels, size = dataset.train_images.shape[1], dataset.train_images.shape[-1]
    augment: Any = OmegaConf.to_container(cfg.dataset.augment) if cfg.dataset.augment else None
    network = hydra.utils.instantiate(cfg.network)(dataset.num_classes, channels, size).to(device)
    optimizer = hydra.utils.instantiate(cfg.optimizer)(network.parameters())
    loss = hydra.utils.instantiate(cfg.loss)
    training = published.transform(size, dataset.mean, dataset.std, augment)
    testing = published.transform(size, dataset.mean, dataset.std, None)
    batches = published.loader(published.Pictures(dataset.train_images, labels, training), cfg.batch_size)
    count = min(EVALUATED, len(dataset.test_labels))
    tests = published.loader(published.Pictures(dataset.test_images[:count], dataset.test_labels[:count], testing), 256)
    stream = itertools.chain.from_iterable(itertools.repeat(batches))  # one epoch after another

    def train(steps: int) -> None:
        published.train_steps(stream, steps, network, loss, optimizer, cfg.clip_norm, device)

    def evaluate() -> None:
        published.evaluate(network, tests, device)

    facts = {"evaluated": count, "kind": device.type}
    return {"train": train, "evaluate": evaluate, "facts": lambda: facts, "shares": dict}


def data(cfg: Any) -> Any:
    """The data set and its labels; as many random images of the same shape if the real ones are missing."""
    import torch

    from labelnoise.data.dataset import Dataset
    from labelnoise.experiment.assemble import load_noisy

    try:
        return load_noisy(cfg)
    except OSError:
        cifar = {"cifar10": (50_000, 3, 32, 10), "cifar100": (50_000, 3, 32, 100)}
        count, channels, size, classes = cifar.get(cfg.dataset.name, (60_000, 1, 28, 10))
        images = torch.randint(0, 256, (count + 10_000, channels, size, size), dtype=torch.uint8)
        labels = torch.randint(0, classes, (count + 10_000,))
        names, half = tuple(map(str, range(classes))), (0.5,) * channels
        train, test = (images[:count], labels[:count]), (images[count:], labels[count:])
        return Dataset(f"random {cfg.dataset.name}", *train, *test, names, half, half), labels[:count]


def worker(side: str, overrides: list[str], pipe: Connection) -> None:
    """A process that runs orders such as ("train", n), ("evaluate",) or ("facts",). Answers results, else seconds."""
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
    """The next order; "end" if the other process is gone."""
    try:
        return pipe.recv()
    except EOFError:
        return "end"


class Side:
    """One side's process.

    It is ready when the constructor returns, so no two start at once: `threads=auto` depends on the machine's load.

    Args:
        side: ours or reference.
        overrides: as for `train`.
        waiting: how its threads wait, as environment variables that replace those that `train` sets; None: `train`'s
            for ours, torch's default for the published code.
    Raises:
        ValueError: an option is wrong.
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
        if failure := self.pipe.recv():
            raise ValueError(failure)

    def do(self, *order: Any) -> Any:
        """Send an order and wait for its answer."""
        self.pipe.send(order)
        return self.pipe.recv()

    def end(self) -> None:
        self.pipe.send("end")
        self.process.join()
