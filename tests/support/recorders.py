"""Stand-ins for CUDA graphs on the CPU: a recorder that does what a graph does, and others, wrong in one way each.

A graph repeats kernels with every Python number as it was when it was recorded. `Frozen` runs the step's Python again
at each launch, with modules' attributes, the clock and learning rates that are numbers put back to the recording's.
"""

import copy
from collections.abc import Callable
from typing import Any

from torch import Tensor

from labelnoise.training.graphs import Recording
from labelnoise.training.method import Feed, Method, StepResult
from labelnoise.training.snapshot import Snapshot, attributes, generators, tensors


class Frozen:
    """As right as a CUDA graph."""

    exact = True

    def __init__(self, method: Method) -> None:
        self.method = method
        self.recorded = self.launched = self.released = self.plain = 0

    def plainly(self, step: Callable[[], StepResult]) -> StepResult:
        self.plain += 1
        return step()

    def record(self, step: Callable[[], StepResult]) -> Recording:
        self.recorded += 1
        before, live, frozen = Snapshot(self.method), tensors(self.method), self.python()
        result = step()
        for path, tensor in live.items():  # nothing has run: only Python has
            tensor.copy_(before.tensors[path])
        for generator, state in zip(generators(self.method), before.drawn, strict=True):
            generator.set_state(state)
        return Recording(lambda: self.launch(step, frozen, result), result)

    def launch(self, step: Callable[[], StepResult], frozen: dict[str, Any], result: StepResult) -> None:
        self.launched += 1
        now = self.python()
        self.put(frozen)
        again = step()
        self.put(now)
        for name, value in outputs(again).items():
            outputs(result)[name].copy_(value)

    def release(self) -> None:
        self.released += 1

    def python(self) -> dict[str, Any]:
        """The Python numbers that a step may read."""
        groups = [group for learner in self.method.learners() for group in learner.optimizer.param_groups]
        rates = [group["lr"] for group in groups]
        return {"attributes": attributes(self.method), "epoch": self.method.clock.epoch, "rates": rates}

    def put(self, python: dict[str, Any]) -> None:
        modules = dict(self.method.named_modules())
        for path, value in python["attributes"].items():
            name, _, attribute = path.rpartition(".")
            setattr(modules[name], attribute, copy.deepcopy(value))
        self.method.clock.epoch = python["epoch"]
        groups = [group for learner in self.method.learners() for group in learner.optimizer.param_groups]
        for group, rate in zip(groups, python["rates"], strict=True):
            group["lr"] = rate


def outputs(result: StepResult) -> dict[str, Tensor]:
    seen = {name: getattr(result, name) for name in ("loss", "index", "predicted", "selected", "target")}
    return {name: value for name, value in seen.items() if value is not None} | result.metrics


class NoRandomNumbers(Frozen):
    """Its generators stand still, so that each replay draws the same."""

    def launch(self, *recorded: Any) -> None:
        states = [generator.get_state() for generator in generators(self.method)]
        super().launch(*recorded)
        for generator, state in zip(generators(self.method), states, strict=True):
            generator.set_state(state)


class OldImages(Frozen):
    """Does not look at its input again."""

    def record(self, step: Callable[[], StepResult]) -> Recording:
        given = self.method.step
        fixed: list[Feed] = []

        def on_old(feed: Feed) -> StepResult:
            if not fixed:
                fixed.append(Feed(feed.step, {name: index.clone() for name, index in feed.index.items()}))
            return given(fixed[0])

        def stale() -> StepResult:
            self.method.step = on_old  # type: ignore[method-assign]
            try:
                return step()
            finally:
                del self.method.step

        return super().record(stale)


class OldRate(Frozen):
    """Its learning rate is the one of the recording, though it is a tensor."""

    def record(self, step: Callable[[], StepResult]) -> Recording:
        self.old = [rate.clone() for rate in self.python()["rates"]]
        return super().record(step)

    def launch(self, *recorded: Any) -> None:
        rates = self.python()["rates"]
        now = [rate.clone() for rate in rates]
        for rate, value in zip(rates, self.old, strict=True):
            rate.copy_(value)
        super().launch(*recorded)
        for rate, value in zip(rates, now, strict=True):
            rate.copy_(value)


class OldOutputs(Frozen):
    """Updates, but does not write what the step returns."""

    def launch(self, step: Callable[[], StepResult], frozen: dict[str, Any], result: StepResult) -> None:
        super().launch(step, frozen, copy.deepcopy(result))


class KeepsBack(Frozen):
    """Does not write one of the state's tensors."""

    def __init__(self, method: Method, path: str) -> None:
        super().__init__(method)
        self.path = path

    def launch(self, *recorded: Any) -> None:
        tensor = tensors(self.method)[self.path]
        before = tensor.clone()
        super().launch(*recorded)
        tensor.copy_(before)


class FailsToLaunch(Frozen):
    """As a graph whose memory was taken."""

    def launch(self, *recorded: Any) -> None:
        super().launch(*recorded)
        raise RuntimeError("an illegal memory access was encountered\nand more")


class FailsToRecord(Frozen):
    """As CUDA does: the reason first, then that the capture did not end well. State and generators have moved on."""

    def record(self, step: Callable[[], StepResult]) -> Recording:
        step()
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        except RuntimeError:
            raise RuntimeError("the capture was invalidated")  # noqa: B904
