"""One configuration to one record: check -> claim -> assemble -> fit -> write."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig

from labelnoise.config import identity, tuned
from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.experiment.assemble import Assembled, assemble, load_noisy
from labelnoise.experiment.auto import settled
from labelnoise.experiment.components import check_optimizer, make_loss, make_regulariser, make_tracker
from labelnoise.experiment.listener import Hub
from labelnoise.experiment.notices import notices
from labelnoise.experiment.outcome import make_record, model_path, times, write
from labelnoise.experiment.progress import duration, show
from labelnoise.experiment.trackers import log_history
from labelnoise.files import atomic
from labelnoise.files.claims import hold
from labelnoise.records import store
from labelnoise.records.environment import this_environment
from labelnoise.training import checkpoints
from labelnoise.training.signals import Signals

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    from labelnoise.data.dataset import Dataset
    from labelnoise.training.method import Method
    from labelnoise.training.state import TrainState

__all__ = ["Trained", "assemble", "compose", "load_noisy", "run", "train"]


class Trained(NamedTuple):
    """Attributes: the record; the trained method; the data set, with its labels from before the noise."""

    record: store.Record
    method: "Method"
    dataset: "Dataset"


def run(cfg: DictConfig, quiet: bool = False) -> store.Record:
    """Train one configuration and write its record, or return the record if there is one.

    A run that was stopped resumes from its checkpoint.

    Args:
        cfg: from `compose`.
        quiet: print nothing.
    Raises:
        Claimed: another living process is training it into the same results folder.
        Stopped: the process was asked to stop, and a checkpoint was written.
        ValueError: an option is wrong.
        OSError: data or results cannot be read or written.
        MemoryError: a GPU's memory is too small; the message says how many such runs fit.
        FloatingPointError: the loss is NaN or infinite.
    """
    cfg = _settled(cfg, quiet)
    config = identity.effective(cfg)
    if record := _existing_record(cfg, identity.run_id(config), quiet):
        return record
    with _claimed(cfg, identity.run_id(config)) as identifier:
        # Another process may have finished it between the check and the claim.
        return _existing_record(cfg, identifier, quiet) or _train(cfg, config, identifier, quiet).record


def train(cfg: DictConfig, quiet: bool = False) -> Trained:
    """As `run`, but returns the trained method too, so it trains even if there is a record. Raises: as `run`."""
    cfg = _settled(cfg, quiet)
    config = identity.effective(cfg)
    with _claimed(cfg, identity.run_id(config)) as identifier:
        return _train(cfg, config, identifier, quiet)


def _settled(cfg: DictConfig, quiet: bool) -> DictConfig:
    """The checked configuration, with hyper-parameters that are `auto` replaced by their values."""
    check(cfg)
    cfg, line = settled(cfg)
    if line and not quiet:
        print(line)
    return cfg


def _existing_record(cfg: DictConfig, identifier: str, quiet: bool) -> store.Record | None:
    """The record that makes the run unnecessary; None if there is none or the run is forced."""
    record = None if cfg.force else store.find(identifier, cfg.results, quiet)
    if record is None or (cfg.save_model and not model_path(cfg, identifier).is_file()):
        return None
    if not quiet:
        from labelnoise.experiment.metrics import in_short

        print(f"run {identifier} is done already (force=true runs it again)\n{in_short(record['metrics'])}")
    return record


@contextlib.contextmanager
def _claimed(cfg: DictConfig, identifier: str) -> Iterator[str]:
    """Claim the run in its results folder and yield its id. Folders made for it that stay empty are removed."""
    results = Path(cfg.results)
    made = [folder for folder in (results, *results.parents) if not folder.exists()]
    try:
        atomic.check_writable(cfg.results, *(f"{identifier}.{end}" for end in store.FILES))
        with hold(results / f"{identifier}.claim", f"run {identifier}"):
            for left in results.glob(f"{identifier}.*.part"):  # left by a process that was killed while writing
                left.unlink(missing_ok=True)
            yield identifier
    finally:
        with contextlib.suppress(OSError):  # it is not empty
            for folder in made:
                folder.rmdir()


def _train(cfg: DictConfig, config: dict[str, Any], identifier: str, quiet: bool) -> Trained:
    from labelnoise.experiment.metrics import in_short, noise_facts, validation_in_short
    from labelnoise.training.device import compiler_works, report_full_memory, prepare, choose_threads

    started = time.monotonic()
    environment = this_environment()  # now, because the checkout may change during training
    had_record = store.find(identifier, cfg.results) is not None
    report = (lambda *_: None) if quiet else print
    runtime = prepare(cfg.device, cfg.precision, cfg.threads, cfg.deterministic)
    loss = make_loss(cfg)
    regulariser = make_regulariser(cfg)
    check_optimizer(cfg)
    for line in tuned.lines(cfg):
        report(line)
    compiled = cfg.compile and compiler_works(runtime.device)
    dataset, labels = load_noisy(cfg)
    facts = noise_facts(dataset.true_labels, labels, dataset.num_classes, cfg.seed_noise)
    report("\n".join(notices(cfg, dataset, facts)))
    own = 0 if dataset.val_labels is None or cfg.trusted_from == "train" else cfg.num_trusted or len(dataset.val_labels)
    if line := validation_in_short(dataset, cfg.num_val, own):
        report(line)
    path = Path(cfg.results) / f"{identifier}.checkpoint"
    commit = environment["commit"]
    with report_full_memory(runtime.device):
        assembled, state, earlier = _resumed(
            lambda: assemble(cfg, dataset, labels, loss, runtime, compiled, regulariser),
            path,
            checkpoints.load(path, identifier, commit if cfg.force else None),
            commit,
        )
    before = earlier[-1]["threads"] if earlier else None
    shape = dataset.train_images.shape[1:]
    runtime = choose_threads(runtime, cfg.threads, assembled.method.network, shape, cfg.batch_size, before, report)
    if state.feeds or state.epoch:
        report(f"resumes after epoch {state.epoch}, step {state.done}")
    training = time.monotonic()
    with Signals() as signals:
        keep = checkpoints.Checkpointer(
            path,
            identifier,
            assembled.method,
            earlier,
            lambda: {"commit": commit, **runtime.facts()},
            signals,
            state.epoch,
        )
        with report_full_memory(runtime.device):
            metrics = _fit(cfg, config, identifier, quiet, assembled, state, keep)
        where = {**environment, **runtime.facts(), "compiled": compiled, **times(started, training, earlier)}
        record = make_record(identifier, config, facts, metrics, state, where)
        other = None if cfg.force or had_record else store.find(identifier, cfg.results)
        record = other or write(cfg, record, assembled.method, dataset)
        path.unlink(missing_ok=True)
        path.with_suffix(checkpoints.EARLIER).unlink(missing_ok=True)
    if signals.noted:  # after the last step: the record is written, but further runs must not start
        signals.leave()
    written = Path(cfg.results) / f"{identifier}.json"
    if other:
        print(f"{written} was written by another process meanwhile; it is kept, this one is not", file=sys.stderr)
    else:
        if cfg.save_model:
            report(f"{model_path(cfg, identifier)} written")
        report(f"{in_short(record['metrics'])}\n{written} written after {duration(time.monotonic() - started)}")
    return Trained(record, assembled.method, dataset)


def _resumed(
    assembled: Callable[[], Assembled], path: Path, checkpoint: dict[str, Any] | None, commit: str | None
) -> "tuple[Assembled, TrainState, list[dict[str, Any]]]":
    """Build with `assembled` and load the checkpoint, if there is one.

    Returns:
        what was built; the training state; facts about the earlier processes of this run.
    """
    from labelnoise.training.state import TrainState

    made = assembled()
    if checkpoint is not None:
        state = checkpoints.restore(path, checkpoint, made.method, commit)
        if state is not None:
            return made, state, checkpoint["pieces"]
        made = assembled()
    return made, TrainState(), []


def _fit(
    cfg: DictConfig,
    config: dict[str, Any],
    identifier: str,
    quiet: bool,
    assembled: Assembled,
    state: "TrainState",
    keep: checkpoints.Checkpointer,
) -> dict[str, Any]:
    """Train to the end, with display, tracker and checkpoints attached. Returns the metrics."""
    from labelnoise.experiment.metrics import summarise
    from labelnoise.training.loop import fit

    steps = -(-len(assembled.method.train_set) // cfg.batch_size)
    with show(cfg.epochs, steps, quiet, state.epoch) as progress:
        tracker = make_tracker(cfg, identifier, config)
        with Hub(progress, tracker, keep, state.epoch) as hub:
            log_history(tracker, state.history)  # of the epochs before a resume
            fit(assembled.method, state, assembled.evaluation, hub, cfg.graphs == "auto")
            hub.metrics = summarise(state.history)
            return hub.metrics
