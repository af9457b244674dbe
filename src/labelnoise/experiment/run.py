"""One configuration to one record: check -> claim -> load -> assemble -> fit -> write."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig

from labelnoise.config import identity, tuned
from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.experiment import metrics
from labelnoise.experiment.abstaining import selective
from labelnoise.experiment.assemble import assemble, load_noisy
from labelnoise.experiment.components import Components, make_components, make_tracker
from labelnoise.experiment.imprecise import refuse_imprecise
from labelnoise.experiment.inputs import refuse_views
from labelnoise.experiment.notices import notices, validation
from labelnoise.experiment.outcome import make_record, times, write
from labelnoise.experiment.parts import positions
from labelnoise.experiment.progress import duration, show
from labelnoise.experiment.reuse import existing_checkpoint, existing_record
from labelnoise.experiment.trackers import Tracked, log_history
from labelnoise.experiment.trained import Trained
from labelnoise.files import atomic
from labelnoise.files.claims import hold
from labelnoise.files.run_files import RunFiles
from labelnoise.records import store
from labelnoise.records.environment import this_environment
from labelnoise.records.own_code import own_code
from labelnoise.training import checkpoints
from labelnoise.training.listener import Listener
from labelnoise.training.signals import Signals

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    from labelnoise.data.dataset import Dataset
    from labelnoise.training.device import Runtime
    from labelnoise.training.loop import EvaluationData
    from labelnoise.training.method import Method
    from labelnoise.training.state import TrainState

__all__ = ["Trained", "compose", "run", "train"]


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
    config, files = _named(cfg)
    if record := existing_record(cfg, files, quiet):
        return record
    with _claimed(files):
        # Another process may have finished it between the check and the claim.
        return existing_record(cfg, files, quiet) or _train(cfg, config, files, quiet).record


def train(cfg: DictConfig, quiet: bool = False, listeners: Sequence[Listener] = ()) -> Trained:
    """As `run`, but returns the trained method and the data set too, so it trains even if there is a record.

    Args:
        listeners: code of the caller's own that is told of every step and epoch, see `Listener`.
    Raises: as `run`, and what a listener raises.
    """
    config, files = _named(cfg)
    existing_record(cfg, files, quiet=True)  # refuses to replace one that other code made
    with _claimed(files):
        return _train(cfg, config, files, quiet, listeners)


def _named(cfg: DictConfig) -> tuple[dict[str, Any], RunFiles]:
    """Check a configuration. Returns the part of it that determines the outcome, and the run's files."""
    check(cfg)
    refuse_imprecise(cfg)
    refuse_views(cfg)
    config = identity.effective(cfg)
    return config, RunFiles(Path(cfg.results), identity.run_id(config))


@contextlib.contextmanager
def _claimed(files: RunFiles) -> Iterator[None]:
    """Claim the run in its results folder. Folders made for it that stay empty are removed."""
    made = [folder for folder in (files.results, *files.results.parents) if not folder.exists()]
    try:
        atomic.check_writable(files.results, *(path.name for path in files.all()))
        with hold(files.claim, f"run {files.run_id}"):
            for left in files.results.glob(f"{files.run_id}.*.part"):  # of a process that was killed while writing
                left.unlink(missing_ok=True)
            yield
    finally:
        with contextlib.suppress(OSError):  # it is not empty
            for folder in made:
                folder.rmdir()


def _train(
    cfg: DictConfig, config: dict[str, Any], files: RunFiles, quiet: bool, listeners: Sequence[Listener] = ()
) -> Trained:
    """Make what needs no data, load the data, assemble or resume, fit, and write the record."""
    from labelnoise.data.long_tail import class_sizes
    from labelnoise.training.device import report_full_memory

    started = time.monotonic()
    say: Callable[[str], object] = (lambda line: None) if quiet else print
    # now, because the checkout may change during training
    environment = this_environment() | ({"code": code} if (code := own_code(config)) else {})
    had_record = store.find(files.run_id, cfg.results) is not None
    components = make_components(cfg)
    for line in tuned.lines(cfg):
        say(line)
    dataset, labels = load_noisy(cfg, imprecise=True)
    noise = metrics.noise_facts(dataset.true_labels, labels, dataset.num_classes, cfg.seed_noise)
    if dataset.kept is not None:
        noise["class_sizes"] = class_sizes(dataset)
    say("\n".join([*notices(cfg, dataset, noise), *validation(cfg, dataset)]))
    with report_full_memory(components.runtime.device):
        training = _assembled(cfg, files, components, dataset, labels, environment, say)
        began = time.monotonic()
        with Signals() as signals:
            accuracies = _fit(cfg, config, files, training, environment, signals, quiet, listeners)
            spent = times(started, began, training.earlier)
            where = {**environment, **training.runtime.facts(), "compiled": components.compiled, **spent}
            record = make_record(files.run_id, config, noise, accuracies, training.state, where)
            other = None if cfg.force or had_record else store.find(files.run_id, cfg.results)
            trained = Trained(record, training.method, dataset, labels, *positions(cfg, dataset, labels))
            record = other or write(files, trained, cfg.save_model, training.state.predictions)
            files.checkpoint.unlink(missing_ok=True)
            files.earlier.unlink(missing_ok=True)
    if signals.noted:  # after the last step: the record is written, but further runs must not start
        signals.leave()
    if other:
        print(f"{files.record} was written by another process meanwhile; it is kept, this one is not", file=sys.stderr)
    else:
        if cfg.save_model:
            say(f"{files.network} written")
        if cfg.record_predictions:
            say(f"{files.predictions} written")
        say(metrics.in_short(record["metrics"]))
        say(f"{files.record} written after {duration(time.monotonic() - started)}")
    return trained._replace(record=record)


class _Training(NamedTuple):
    """What `fit` works on, and facts about the earlier processes of this run."""

    method: "Method"
    evaluation: "EvaluationData"
    state: "TrainState"
    runtime: "Runtime"
    earlier: list[dict[str, Any]]


def _assembled(
    cfg: DictConfig,
    files: RunFiles,
    components: Components,
    dataset: "Dataset",
    labels: Any,
    environment: dict[str, Any],
    say: Callable[[str], object],
) -> _Training:
    """The method, new or as its checkpoint has it, with the final number of threads."""
    from labelnoise.training.device import choose_threads
    from labelnoise.training.predictions import Predictions
    from labelnoise.training.state import TrainState

    commit, checkpoint = environment["commit"], existing_checkpoint(cfg, files, environment)
    shared = files.results / "shared"
    made, state = assemble(cfg, dataset, labels, components, shared), None
    if checkpoint is not None:
        state = checkpoints.restore(files, checkpoint, made.method, commit)
        if state is None:  # another commit's, which left the method half restored
            made = assemble(cfg, dataset, labels, components, shared)
    earlier = [] if state is None or checkpoint is None else checkpoint["pieces"]
    before = earlier[-1]["threads"] if earlier else None
    shape = dataset.train_images.shape[1:]
    runtime = choose_threads(components.runtime, cfg.threads, made.method.network, shape, cfg.batch_size, before, say)
    if state is not None and (state.feeds or state.epoch):
        say(f"resumes after epoch {state.epoch}, step {state.done}")
    state = state or TrainState()
    state.predictions = (state.predictions or Predictions()) if cfg.record_predictions else None
    return _Training(made.method, made.evaluation, state, runtime, earlier)


def _fit(
    cfg: DictConfig,
    config: dict[str, Any],
    files: RunFiles,
    training: _Training,
    environment: dict[str, Any],
    signals: Signals,
    quiet: bool,
    listeners: Sequence[Listener],
) -> dict[str, Any]:
    """Train to the end, with display, tracker and checkpoints attached. Returns the metrics."""
    from labelnoise.training.loop import fit

    method, state = training.method, training.state
    steps = -(-len(method.train_set) // cfg.batch_size)
    known: dict[str, Any] = {key: environment[key] for key in ("commit", "code") if key in environment}
    facts = lambda: {**known, **training.runtime.facts()}  # noqa: E731  # some are known after a step
    keep = checkpoints.Checkpointer(files, method, training.earlier, facts, signals, state.epoch)
    with show(cfg.epochs, steps, quiet, state.epoch) as display:
        tracker = make_tracker(cfg, files.run_id, config)
        with Tracked(tracker, state.epoch) as tracked:
            log_history(tracker, state.history)  # of the epochs before a resume
            fit(method, state, training.evaluation, [display, tracked, *listeners, keep], cfg.graphs == "auto")
            tracked.metrics = metrics.summarise(state.history) | selective(method, training.evaluation)
            return tracked.metrics
