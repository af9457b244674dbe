"""One configuration to one record: check -> claim -> assemble -> fit -> write; and several at once."""

import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from labelnoise.experiment import identity, records
from labelnoise.experiment.assemble import assemble, check_optimizer, inject, make_loss
from labelnoise.experiment.config import check, compose
from labelnoise.experiment.environment import this_environment
from labelnoise.experiment.progress import Quiet, duration, show
from labelnoise.files import atomic
from labelnoise.files.claims import hold
from labelnoise.training import checkpoints
from labelnoise.training.signals import Signals

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    from labelnoise.data.dataset import Dataset
    from labelnoise.experiment.trackers import Tracker
    from labelnoise.training.loop import Position
    from labelnoise.training.method import Method

__all__ = ["assemble", "compose", "inject", "run", "run_many"]


def run(cfg: DictConfig, quiet: bool = False) -> records.Record:
    """Train one configuration and write its record, or return the record that it has already.

    What was stopped goes on from its checkpoint.

    Args:
        cfg: from `compose`.
        quiet: print nothing.
    Raises:
        Claimed: another living process trains it into the same results folder.
        Stopped: the process was told to end, and a checkpoint was written.
        ValueError: an option is wrong.
        OSError: data or results cannot be read or written.
        MemoryError: a GPU's memory does not suffice; the text says how many such runs fit.
        FloatingPointError: the loss is not a finite number any more.
    """
    check(cfg)
    config = identity.effective(cfg)
    identifier = identity.run_id(config)
    if known := _known(cfg, identifier, quiet):
        return known
    atomic.check_writable(cfg.results)
    results = Path(cfg.results)
    with hold(results / f"{identifier}.claim", f"run {identifier}"):
        for left in results.glob(f"{identifier}.*.part"):  # of a process that was killed while it wrote
            left.unlink(missing_ok=True)
        # another process may have finished it between the look and the claim
        return _known(cfg, identifier, quiet) or _train(cfg, config, identifier, quiet)


def _known(cfg: DictConfig, identifier: str, quiet: bool) -> records.Record | None:
    """The record that makes a run unnecessary."""
    known = None if cfg.force else records.find(identifier, cfg.results)
    if known is None or (cfg.save_model and not _model_path(cfg, identifier).is_file()):
        return None
    if not quiet:
        from labelnoise.experiment.metrics import in_short

        print(f"run {identifier} is done already (force=true runs it again)\n{in_short(known['metrics'])}")
    return known


def run_many(cfgs: list[DictConfig], at_once: int) -> list[records.Record]:
    """Run several configurations side by side, each in a process of its own with one CPU thread.

    Two one-thread runs finish more than two-thread runs one after another, on a CPU or a GPU that one run leaves idle.
    A run that fails lets the others finish. As with any use of processes, call it under `if __name__ == "__main__":`.

    Args:
        cfgs: from `compose`; the records come back in their order, each equal to the same run alone with threads=1.
        at_once: processes, >= 1; each takes further configurations until there are none left.
    Raises:
        ValueError: at_once is below 1.
        ExceptionGroup: the failures of the runs that failed, after all have ended.
    """
    if at_once < 1:
        raise ValueError(f"at_once={at_once}: must be a whole number, at least 1")
    alone: list[Any] = [OmegaConf.merge(cfg, {"threads": 1}) for cfg in cfgs]
    # spawn: a forked child of a process that has computed cannot compute itself
    with ProcessPoolExecutor(min(at_once, len(cfgs)) or 1, multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(run, cfg, quiet=True) for cfg in alone]
    failures = [error for future in futures if isinstance(error := future.exception(), Exception)]
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(cfgs)} runs failed", failures)
    return [future.result() for future in futures]


def _train(cfg: DictConfig, config: dict[str, Any], identifier: str, quiet: bool) -> records.Record:
    import torch

    from labelnoise.experiment.metrics import in_short, noise_facts, noise_in_short, summarise
    from labelnoise.training.device import compiler_works, memory_full, prepare, settle
    from labelnoise.training.loop import fit

    started = time.monotonic()
    environment = this_environment()  # now: the checkout may move on while it trains
    had_record = records.find(identifier, cfg.results) is not None
    say = (lambda *_: None) if quiet else print
    place = prepare(cfg.device, cfg.precision, cfg.threads, cfg.deterministic)
    loss = make_loss(cfg, say)
    check_optimizer(cfg)
    compiled = cfg.compile and compiler_works()
    dataset, noisy_labels = inject(cfg)
    facts = noise_facts(dataset.train_labels, noisy_labels, dataset.num_classes, cfg.seed_noise)
    say(noise_in_short(dataset.name, facts))
    checkpoint = Path(cfg.results) / f"{identifier}.checkpoint"
    (method, true_labels, val, test), position, earlier = _resume(
        lambda: assemble(cfg, dataset, noisy_labels, loss, place, compiled),
        checkpoint,
        checkpoints.load(checkpoint, identifier, environment["commit"] if cfg.force else None),
    )
    before = earlier[-1]["threads"] if earlier else None
    place = settle(place, cfg.threads, method.network, dataset.train_images.shape[1:], cfg.batch_size, before, say)
    if position.order or position.epoch:
        say(f"goes on after epoch {position.epoch}, step {position.step}")
    steps = -(-len(true_labels) // cfg.batch_size)
    training = time.monotonic()
    with Signals() as signals:
        piece = lambda: {"commit": environment["commit"], **place.facts()}  # noqa: E731
        keep = checkpoints.Keeper(checkpoint, identifier, method, earlier, piece, signals, position.epoch)
        with show(cfg.epochs, steps, quiet, position.epoch) as progress:
            tracker = hydra.utils.instantiate(cfg.tracker)(identifier, config, cfg.results)
            with _Tracked(progress, tracker, position.epoch) as told:
                try:
                    fit(
                        method, true_labels, test, val, cfg.epochs, cfg.batch_size, cfg.eval_every, told, position, keep
                    )
                except torch.OutOfMemoryError:
                    raise MemoryError(memory_full(place.device)) from None
                told.metrics = summarise(position.history)
        where = {**environment, **place.facts(), "compiled": compiled, **_times(started, training, earlier)}
        record = _record(identifier, config, facts, told.metrics, position, where)
        other = None if cfg.force or had_record else records.find(identifier, cfg.results)
        record = other or _write(cfg, record, method, dataset)
        checkpoint.unlink(missing_ok=True)
    if signals.noted:  # after the last step: the record is written, and whoever runs more must still hear of it
        signals.leave()
    path = Path(cfg.results) / f"{identifier}.json"
    if other:
        print(f"{path} was finished by another process meanwhile; it is kept, this one dropped", file=sys.stderr)
    else:
        if cfg.save_model:
            say(f"{_model_path(cfg, identifier)} written")
        say(f"{in_short(record['metrics'])}\n{path} written after {duration(time.monotonic() - started)}")
    return record


def _record(
    identifier: str,
    config: dict[str, Any],
    noise: dict[str, Any],
    metrics: dict[str, Any],
    position: "Position",
    environment: dict[str, Any],
) -> records.Record:
    return {
        "run_id": identifier,
        "config": config,
        "noise": noise,
        "metrics": {**metrics, "confusion": position.confusion.tolist()},
        "history": {name: _rounded(column) for name, column in position.history.items()},
        "environment": environment,
    }


def _times(started: float, training: float, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds since both, those of earlier processes on this run included; now; and those processes, if any."""
    before, now = sum(piece["seconds"] for piece in earlier), time.monotonic()
    return {
        "seconds": round(now - started + before, 1),
        "seconds_training": round(now - training + before, 1),
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **({"earlier_pieces": earlier} if earlier else {}),
    }


def _resume(
    assembled: Callable[[], Any], checkpoint: Path, state: dict[str, Any] | None
) -> tuple[Any, "Position", list[dict[str, Any]]]:
    """What `assembled` makes, in the state of a checkpoint if there is one; the position; the earlier pieces."""
    from labelnoise.training.loop import Position

    made = assembled()
    if state is None:
        return made, Position(), []
    try:
        return made, checkpoints.restore(state, made[0]), state["pieces"]
    except Exception as error:  # what does not fit is found while half of it is loaded
        checkpoints.refuse(checkpoint, f"it does not fit this run ({type(error).__name__})")
        return assembled(), Position(), []


def _write(cfg: DictConfig, record: records.Record, method: "Method", dataset: "Dataset") -> records.Record:
    """Write the network if it is to be kept, then the record, and never a network without its record."""
    model = _model_path(cfg, record["run_id"])
    if cfg.save_model:
        _save(method, record, dataset, model)
    else:  # a network of an earlier run is not this record's
        model.unlink(missing_ok=True)
    try:
        records.write(record, cfg.results)
    except OSError:
        model.unlink(missing_ok=True)
        raise
    return record


class _Tracked(Quiet):
    """Tells the display and the tracker of each epoch; the tracker is finished whatever happens."""

    def __init__(self, progress: Quiet, tracker: "Tracker", done: int) -> None:
        self._progress, self._tracker, self._epoch = progress, tracker, done
        self.metrics: dict[str, Any] = {}
        self.step = progress.step  # type: ignore[method-assign]

    def __enter__(self) -> "_Tracked":
        return self

    def __exit__(self, *_: object) -> None:
        self._tracker.finish(self.metrics)

    def epoch(self, row: dict[str, float | None]) -> None:
        self._epoch += 1
        self._progress.epoch(row)
        self._tracker.log(self._epoch, row)


def _save(method: "Method", record: records.Record, dataset: "Dataset", path: Path) -> None:
    """The network that predicts, as safetensors, with what it takes to build it again."""
    from safetensors.torch import save

    weights = {name: value.contiguous().cpu() for name, value in method.network.state_dict().items()}
    about = {
        "run_id": record["run_id"],
        "network": json.dumps(record["config"]["network"]),
        "shape": json.dumps(list(dataset.train_images.shape[1:])),
        "classes": json.dumps(dataset.classes),
        "mean": json.dumps(dataset.mean),
        "std": json.dumps(dataset.std),
    }
    atomic.write_whole(path, save(weights, about))


def _model_path(cfg: DictConfig, identifier: str) -> Path:
    return Path(cfg.results) / f"{identifier}.safetensors"


def _rounded(column: list[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in column]
