"""Trackers: other places to log the history to, for watching a run. The record contains all of it too.

A function `(run_id, config, results) -> Tracker` makes a tracker and imports its library only then. It replaces what an
earlier tracker wrote for this run: whoever makes one logs the whole history, also of the epochs before a resume, so
that each epoch is there once.
"""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from labelnoise.config.naming import named
from labelnoise.training.listener import Listener, Row

NAMES = ("dataset", "noise", "loss", "method", "network")
Mode = Literal["offline", "online", "disabled"]


class Tracker(NamedTuple):
    """Attributes: log, called after each epoch (from 1) with its history row; finish, called with the metrics."""

    log: Callable[[int, Row], None]
    finish: Callable[[dict[str, Any]], None]


class Tracked(Listener):
    """Tells a tracker every epoch. On exit the tracker is always finished.

    Args:
        done: number of finished epochs, which it is told by `log_history`.
    Attributes:
        metrics: given to the tracker at the end.
    """

    def __init__(self, tracker: Tracker, done: int) -> None:
        self._tracker, self._epoch = tracker, done
        self.metrics: dict[str, Any] = {}

    def __enter__(self) -> "Tracked":
        return self

    def __exit__(self, *_: object) -> None:
        self._tracker.finish(self.metrics)

    def epoch(self, row: Row) -> None:
        self._epoch += 1
        self._tracker.log(self._epoch, row)


def log_history(tracker: Tracker, history: Mapping[str, Sequence[float | None] | None]) -> None:
    """Log finished epochs, from 1. Args: history, quantity -> a value for each epoch, or None for all of them."""
    columns = {name: column for name, column in history.items() if column is not None}
    for epoch, values in enumerate(zip(*columns.values(), strict=True), start=1):
        tracker.log(epoch, dict(zip(columns, values, strict=True)))


def none(run_id: str, config: dict[str, Any], results: str) -> Tracker:
    """No tracker."""
    return Tracker(lambda epoch, row: None, lambda metrics: None)


def headline(config: dict[str, Any]) -> dict[str, Any]:
    """The run in short: the names of its components, the noise's rate (None if it has none), and its plain options.

    Args:
        config: effective.
    """
    options = named(config)
    names = {key: options.get(key) for key in NAMES} | {"rate": options.get("noise.rate")}
    return names | {key: value for key, value in config.items() if not isinstance(value, dict) and key not in names}


def wandb(run_id: str, config: dict[str, Any], results: str, project: str, mode: Mode) -> Tracker:
    """Weights & Biases, in `<results>/wandb`.

    The run's id is W&B's too, and the epoch is its step: a run that is logged again, resumed or synced again stays one
    run there. W&B keeps an epoch that it has and adds those that it lacks. Offline, the folders
    `offline-run-*-<run_id>` of earlier processes are removed, because the new one holds all epochs.

    Its configuration there has the names of `headline`, and the whole one as `config`. Runs of one data set, noise,
    loss and method are a group; its tags are these.

    Args:
        project: name of the W&B project.
        mode: offline (no account, no network), online or disabled. Online falls back to offline with a message if the
            service does not answer within 20 seconds or there is no API key.
    """
    import wandb as client

    folder = Path(results)
    folder.mkdir(parents=True, exist_ok=True)
    if mode != "disabled":  # if it starts online they are not needed either
        for earlier in folder.glob(f"wandb/offline-run-*-{run_id}"):
            shutil.rmtree(earlier)

    short = headline(config)
    words = [str(short[key]) for key in ("dataset", "noise", "rate", "loss", "method") if short[key] is not None]

    def start(mode: Mode) -> Any:
        settings = client.Settings(init_timeout=20, silent=True)
        return client.init(
            project=project,
            name=run_id,
            id=run_id,
            resume="allow",
            config={**short, "config": config},
            group=" ".join(words)[:128],  # W&B's limits
            tags=[str(short[key])[:64] for key in ("dataset", "noise", "loss", "method")],
            dir=folder,
            mode=mode,
            settings=settings,
            reinit="finish_previous",
        )

    try:
        run = start(mode)
    except (client.errors.UsageError, client.errors.CommError) as error:
        print(f"tracker=wandb: not online ({str(error).splitlines()[0]}); writing offline instead", file=sys.stderr)
        run = start("offline")

    def finish(metrics: dict[str, Any]) -> None:
        run.summary.update({name: value for name, value in metrics.items() if isinstance(value, float)})
        run.finish()

    return Tracker(lambda epoch, row: run.log({"epoch": epoch, **_known(row)}, step=epoch), finish)


def tensorboard(run_id: str, config: dict[str, Any], results: str) -> Tracker:
    """TensorBoard event files in `<results>/tensorboard/<run_id>`.

    They hold the history, the configuration as text and, at the end, options and metrics for the page HPARAMS.

    Raises:
        ValueError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("tracker=tensorboard: not installed; pip install 'labelnoise[tensorboard]'") from None
    folder = Path(results) / "tensorboard" / run_id
    for earlier in folder.glob("events.out.tfevents.*"):  # TensorBoard shows all of a folder's files together
        earlier.unlink()
    writer = SummaryWriter(str(folder))
    writer.add_text("config", f"```\n{yaml.safe_dump(config, sort_keys=False)}```")

    def log(epoch: int, row: Row) -> None:
        for name, value in _known(row).items():
            writer.add_scalar(name, value, epoch)

    def finish(metrics: dict[str, Any]) -> None:
        options = {key: value for key, value in named(config).items() if key[-1] != "_"} | headline(config)
        plain = {key: value if isinstance(value, int | float | None) else str(value) for key, value in options.items()}
        found = {name: value for name, value in metrics.items() if isinstance(value, float)}
        writer.add_hparams(plain, found, run_name=".")  # in this folder, not in one named after the time
        writer.close()

    return Tracker(log, finish)


def _known(row: Row) -> dict[str, float]:
    return {name: value for name, value in row.items() if value is not None}
