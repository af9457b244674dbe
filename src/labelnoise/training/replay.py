"""Checks that a recorded step equals the plain step: both run the same two steps from the same state.

First, values that a recording may have frozen are changed: learning rates that are tensors are halved, and the clock is
set to another epoch. So a step that reads the epoch or a rate from Python differs at once, not an epoch later.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from labelnoise.training.method import Feed, Method, StepResult
from labelnoise.training.snapshot import Snapshot, tensors

# Tolerances. Two plain runs on a GPU differ in the order of sums, unless algorithms are deterministic; errors are far
# larger.
UPDATE = 1e-2  # relative to the norm of an update
VALUE = 1e-2  # of a loss or another mean, relative and absolute
CHOICES = 5e-2  # share of differing integers, such as predicted classes

Run = Callable[[Feed], StepResult]


class Trace(NamedTuple):
    """The outcome of some steps. Attributes: results, one per step; after, the state that they may have changed."""

    results: list[StepResult]
    after: Snapshot


def difference(
    method: Method, before: Snapshot, feeds: tuple[Feed, ...], plainly: Run, replayed: Run, exact: bool
) -> str | None:
    """Describes how a recording differs from the step; None if it does not. The method's state is restored.

    Args:
        before: taken before the step was recorded.
        feeds: of the steps that both run.
        exact: whether all bits must be equal; else the differences of two plain runs on a GPU are tolerated.
    """
    if reason := _changed_constant(before, Snapshot(method), "while it was recorded"):
        return reason
    traces = []
    for run in (plainly, replayed):
        with _perturbed(method):
            results = [run(feed) for feed in feeds]
            traces.append(Trace(results, Snapshot(method)))
        if reason := _changed_constant(before, traces[-1].after, "in a step"):
            return reason
        before.restore()
        now = tensors(method)
        if copy := next((path for path in now if not _equal(now[path], before.tensors[path])), None):
            return f"{_readable(copy)} is a copy in the method's state, not the tensor itself"
    plain, replay = traces
    reason = _differing_results(plain, replay, exact)
    return reason or _differing_state(method, before, plain.after, replay.after, exact)


@contextlib.contextmanager
def _perturbed(method: Method) -> Iterator[None]:
    """Set the clock to another epoch and halve the learning rates that are tensors; a snapshot restores these."""
    clock, epoch = method.clock, method.clock.epoch
    for learner in method.learners():
        for group in learner.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].mul_(0.5)
    clock.epoch = 0 if epoch else clock.epochs - 1
    try:
        yield
    finally:
        clock.epoch = epoch


def _changed_constant(before: Snapshot, after: Snapshot, when: str) -> str | None:
    """A tensor that moved in memory, or a Python value that changed: a recording would follow neither."""
    earlier, later = before.constants, after.constants
    for name in earlier | later:
        if name not in earlier or name not in later:
            return f"{_readable(name)} was added or removed {when}"
        if earlier[name] != later[name]:
            if name in before.tensors:
                return f"{_readable(name)} moved in memory {when}; write into it (copy_) instead"
            return f"{_readable(name)}, which is not a tensor, changed {when}"
    return None


def _differing_results(plain: Trace, replay: Trace, exact: bool) -> str | None:
    for step, (mine, theirs) in enumerate(zip(plain.results, replay.results, strict=True), 1):
        a, b = _outputs(mine), _outputs(theirs)
        for name in a | b:
            if name not in a or name not in b or not _same(a[name], b[name], exact):
                return f"step {step} of a replay gives a different {name}"
    if not all(map(torch.equal, plain.after.drawn, replay.after.drawn)):
        return "a replay draws a different number of random numbers"
    return None


def _differing_state(method: Method, before: Snapshot, plain: Snapshot, replay: Snapshot, exact: bool) -> str | None:
    weights = {f"/{name}" for name, _ in method.named_parameters()}
    groups: dict[str, list[str]] = {}
    for path in before.tensors:
        groups.setdefault(_group_of(path, weights), []).append(path)
    for paths in groups.values():
        start, mine, theirs = ([snapshot.tensors[path] for path in paths] for snapshot in (before, plain, replay))
        if not (all(map(_equal, mine, theirs)) if exact else _updated_alike(start, mine, theirs)):
            return f"a replay leaves a different {_readable(paths[0])}"
    return None


def _group_of(path: str, weights: set[str]) -> str:
    """The group of tensors compared together: a network's weights, one kind of optimizer state, or a single buffer.

    A single weight's update may be only rounding, such as that of a bias before batch normalisation.
    """
    if path in weights:
        return path.partition("network.")[0]
    owner, found, rest = path.partition("/state/")
    return f"{owner} {rest.rpartition('/')[2]}" if found else path


def _outputs(result: StepResult) -> dict[str, Tensor]:
    return {name: value for name, value in vars(result).items() if isinstance(value, Tensor)} | result.metrics


def _same(mine: Tensor, theirs: Tensor, exact: bool) -> bool:
    """Whether two outputs agree."""
    if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
        return False
    if exact or not mine.numel():
        return _equal(mine, theirs)
    if mine.is_floating_point():
        return bool(torch.isclose(mine, theirs, VALUE, VALUE, equal_nan=True).all())
    return float((mine != theirs).double().mean()) <= CHOICES


def _updated_alike(start: list[Tensor], mine: list[Tensor], theirs: list[Tensor]) -> bool:
    """Whether the tensors of a group changed equally from `start`."""
    if all(tensor.is_floating_point() for tensor in start):
        return _squares(mine, theirs) <= UPDATE**2 * _squares(start, mine)
    return _changes(mine, theirs) <= CHOICES * _changes(start, mine)


def _squares(a: list[Tensor], b: list[Tensor]) -> float:
    return sum(float((y.double() - x.double()).square().sum()) for x, y in zip(a, b, strict=True))


def _changes(a: list[Tensor], b: list[Tensor]) -> int:
    return sum(int((x != y).sum()) for x, y in zip(a, b, strict=True))


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether all numbers are equal; NaN equals NaN."""
    return a.shape == b.shape and bool(torch.isclose(a, b, 0.0, 0.0, equal_nan=True).all())


def _readable(path: str) -> str:
    """A path in a method's state, for messages."""
    return path.strip("/.").replace("/", " ")
