"""The training loop. Only here are a method's results compared with the true labels."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from labelnoise.training.diagnose import diagnose, judgement_metrics
from labelnoise.training.evaluate import Labelled, accuracy, confusion_matrix
from labelnoise.training.graphs import Steps
from labelnoise.training.listener import Listener
from labelnoise.training.method import Feed, Method
from labelnoise.training.state import Row, TrainState


class EvaluationData(NamedTuple):
    """The data for evaluation.

    Attributes:
        truth: (N,), the true labels of the training set, on its device; None if they are not known.
        test: the test set with its true labels.
        val: the held-out part of the training set with its given labels, or None.
        every: epochs between evaluations; the last epoch is always evaluated.
    """

    truth: Tensor | None
    test: Labelled
    val: Labelled | None
    every: int


def fit(
    method: Method,
    state: TrainState,
    evaluation: EvaluationData,
    listeners: Sequence[Listener] = (),
    graphs: bool = True,
) -> None:
    """Train to the end of the method's clock, with evaluations. `state` is updated in place.

    Args:
        listeners: notified in this order.
        graphs: whether a GPU may replay steps as CUDA graphs.
    Raises:
        FloatingPointError: the loss or an output is NaN or infinite; gives the epoch or step.
    """
    clock, steps = method.clock, Steps(method, graphs)
    clock.epoch = state.epoch
    if clock.steps is not None:
        clock.steps.fill_(state.steps)
    for listener in listeners:
        listener.start(method, state.epoch)
    while clock.epoch < clock.epochs:
        row = train_epoch(method, state, evaluation.truth, steps, listeners)
        row |= evaluate(method, state, evaluation, listeners)
        if len(method.stages) > 1:
            row["stage"] = method.stage
        state.end_epoch(row)
        clock.epoch = state.epoch
        for listener in listeners:
            listener.epoch(row)
        _consistent(state, listeners)


def _consistent(state: TrainState, listeners: Sequence[Listener]) -> None:
    for listener in listeners:
        listener.consistent(state)


def train_epoch(
    method: Method, state: TrainState, truth: Tensor | None, steps: Steps, listeners: Sequence[Listener] = ()
) -> Row:
    """Train the rest of the current epoch; waits for the device only at its end. Returns its history row.

    Raises:
        FloatingPointError: the loss is NaN or infinite; gives the epoch and step.
    """
    if state.feeds:  # a run that resumes inside an epoch has its feeds and the effect of `begin_epoch`
        _set_rates(method)
    else:
        state.feeds = start_epoch(method, method.clock.epoch)
    method.train()
    for feed in state.feeds[state.done :]:
        state.note(feed, steps(feed), len(method.train_set))
        if method.clock.steps is not None:
            method.clock.steps.add_(1)
        for listener in listeners:
            listener.step()
        _consistent(state, listeners)
    finite = torch.stack(state.means["train_loss"][0]).isfinite()
    if not finite.all():
        step = int(finite.int().argmin()) + 1
        raise FloatingPointError(f"the loss is NaN or infinite at epoch {state.epoch + 1}, step {step}")
    return diagnose(state, truth, method.train_set.labels, method.train_set.num_classes)


def start_epoch(method: Method, epoch: int) -> list[Feed]:
    """Begin an epoch (from 0): its learning rates, and what the method does before it. Returns the epoch's feeds.

    A training loop of one's own is this and, for each feed in order, `method.step(feed)`.
    """
    method.clock.epoch = epoch
    _set_rates(method)
    method.train()
    method.begin_epoch()
    feeds = method.feeds()
    method.train()
    return feeds


def _set_rates(method: Method) -> None:
    for learner in method.learners():
        learner.begin_epoch(method.clock.epoch)


def evaluate(method: Method, state: TrainState, evaluation: EvaluationData, listeners: Sequence[Listener] = ()) -> Row:
    """The evaluation's part of the history row; null in an epoch without evaluation."""
    row: Row = {"test_acc": None}  # a quantity that comes later is null before, see `TrainState.end_epoch`
    if evaluation.val is not None:
        row["val_acc"] = None
    epoch = state.epoch + 1
    if epoch % evaluation.every and epoch < method.clock.epochs:
        return row
    try:
        between = partial(_consistent, state, listeners)
        state.confusion = confusion_matrix(method, evaluation.test, between)
        row["test_acc"] = accuracy(state.confusion)
        if evaluation.val is not None:
            row["val_acc"] = accuracy(confusion_matrix(method, evaluation.val, between))
        for name, predict in method.apart().items():
            row[f"{name}_test_acc"] = accuracy(confusion_matrix(method, evaluation.test, between, predict))
        if state.predictions is not None:
            state.predictions.note(method, epoch, between)
    except FloatingPointError as error:
        raise FloatingPointError(f"{error} after epoch {epoch}") from None
    if (judgement := method.judgement()) is not None:
        row |= judgement_metrics(judgement, evaluation.truth, method.train_set.labels)
    return row
