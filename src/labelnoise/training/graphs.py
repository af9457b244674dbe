"""Runs a method's steps on a GPU as CUDA graphs: one call launches the hundreds of kernels of a step.

A graph repeats what it recorded: the same kernels at the same memory addresses, with the same Python numbers. So a step
may depend only on its feed and on tensors whose address does not change. A step that breaks this rule would silently
train wrongly, so each graph is compared with the plain step before it is used; see `labelnoise.training.replay`.
"""

import contextlib
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from labelnoise.training import replay
from labelnoise.training.method import Feed, Method, StepResult
from labelnoise.training.snapshot import Snapshot, constants

PLAIN = 3  # plain steps of each kind before its graph: they create optimizer state and autotune cuDNN and Triton
MOST = 32  # graphs of a method; steps of further kinds or sizes run plainly
REGISTERED = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14)  # later captures register by themselves

given_up = False  # True after a failed capture, which may leave this process's CUDA unable to capture


class Recording(NamedTuple):
    """Attributes: launch, repeats the step on the current inputs; result, the tensors that it writes its result to."""

    launch: Callable[[], object]
    result: StepResult


class Recorder(Protocol):
    """Records steps: `CudaRecorder`, or a substitute in a test."""

    exact: bool  # whether a replay must equal the step bit for bit

    def plainly(self, step: Callable[[], StepResult]) -> StepResult:
        """Run a step without recording it."""

    def record(self, step: Callable[[], StepResult]) -> Recording:
        """Record a step without running it. Raises: any exception if the step cannot be recorded."""

    def release(self) -> None:
        """Free unused memory."""


class Steps:
    """Calls a method's step with one feed after another; on a GPU it replays steps of known kind and sizes.

    A graph is recorded once for each kind and sizes. At the start of an epoch, all graphs are dropped and recorded
    again if a tensor of the method has moved in memory, a Python number in one of its modules has changed, or a
    hyper-parameter in an optimizer has changed, such as a learning rate that is not a tensor. If a step cannot be
    recorded, or its graph differs from the step, one warning gives the reason; from then on the steps of this process
    run plainly, from the same state.

    Args:
        method: runs its `step`.
        graphs: False runs every step plainly.
        recorder: replaces the device's recorder; on a CPU there is none.
    """

    def __init__(self, method: Method, graphs: bool = True, recorder: Recorder | None = None) -> None:
        data, device = method.train_set, method.train_set.labels.device
        if recorder is None and device.type == "cuda" and data.on_device and graphs and not given_up:
            recorder = CudaRecorder(device, data.generator)
        self._method, self._recorder = method, recorder
        self._kinds: dict[tuple[object, ...], _Kind] = {}
        self._epoch, self._constants = -1, dict[str, Any]()

    def __call__(self, feed: Feed) -> StepResult:
        if self._recorder is None:
            return self._method.step(feed)
        if self._epoch != self._method.clock.epoch:
            self._begin_epoch()
        sizes = tuple((name, len(index)) for name, index in feed.index.items())
        kind = self._kinds.setdefault((feed.step, sizes), _Kind())
        if kind.graph is None and kind.earlier is not None and kind.taken >= PLAIN and self._room():
            kind.graph = self._recorded(kind.earlier, feed)
        if kind.graph is not None:
            return kind.graph(feed)
        kind.taken, kind.earlier = kind.taken + 1, feed
        return self._plainly(feed)

    def _plainly(self, feed: Feed) -> StepResult:
        if self._recorder is None:
            return self._method.step(feed)
        return self._recorder.plainly(lambda: self._method.step(feed))

    def _room(self) -> bool:
        return sum(kind.graph is not None for kind in self._kinds.values()) < MOST

    def _begin_epoch(self) -> None:
        """Drop all graphs if a constant has changed."""
        now = constants(self._method)
        if now != self._constants:
            self._kinds.clear()
        self._epoch, self._constants = self._method.clock.epoch, now

    def _recorded(self, earlier: Feed, feed: Feed) -> "_Graph | None":
        """A graph that was checked to equal the step; the method is unchanged. None: no graphs from here on."""
        assert self._recorder is not None
        before, graph = Snapshot(self._method), None
        try:
            graph = _Graph(self._method, feed, self._recorder)
            steps = (earlier, feed)
            reason = replay.difference(self._method, before, steps, self._plainly, graph, self._recorder.exact)
        except Exception as error:  # any error of a step, CUDA or a compiler: fall back to the plain step
            reason = _reason(error)
            _forget(error)
        if reason is None:
            self._constants = before.constants  # this epoch's plain steps have created the optimizer's state
            self._recorder.release()  # memory of the plain steps
            return graph
        del graph
        self._give_up(reason)
        before.load()
        return None

    def _give_up(self, reason: str) -> None:
        """No graphs in this process from here on."""
        global given_up
        given_up = True
        recorder, self._recorder = self._recorder, None
        self._kinds.clear()
        warnings.warn(f"steps run without a CUDA graph from here on: {reason}", RuntimeWarning, stacklevel=2)
        if recorder is not None:
            with contextlib.suppress(RuntimeError):  # if CUDA itself has failed, the next step raises
                recorder.release()


@dataclass
class _Kind:
    """Attributes: taken, number of plain steps; earlier, the feed of the last one; graph, once it is recorded."""

    taken: int = 0
    earlier: Feed | None = None
    graph: "_Graph | None" = None


class _Graph:
    """A recording of a step, with an index at a fixed memory address."""

    def __init__(self, method: Method, like: Feed, recorder: Recorder) -> None:
        self._index = {name: positions.clone() for name, positions in like.index.items()}
        self._recording = recorder.record(lambda: method.step(Feed(like.step, self._index)))

    def __call__(self, feed: Feed) -> StepResult:
        for name, positions in feed.index.items():
            self._index[name].copy_(positions)
        self._recording.launch()
        return _copied(self._recording.result)  # the next launch overwrites it


class CudaRecorder:
    """Records with torch's CUDA graphs, in its own stream: torch's default capture stream is on the first device.

    Args:
        device: the method's device.
        generator: the generator that its steps use, besides the default one.
    """

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        self._device, self._generator = device, generator
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()  # shared by all graphs: they never run at the same time
        self.exact = torch.are_deterministic_algorithms_enabled()

    def plainly(self, step: Callable[[], StepResult]) -> StepResult:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = step()
        current.wait_stream(self._stream)
        return result

    def record(self, step: Callable[[], StepResult]) -> Recording:
        stream = torch.cuda.current_stream(self._device)
        default = torch.cuda.default_generators[self._device.index or 0]
        drawn = [(generator, generator.clone_state()) for generator in (self._generator, default)]
        graph = torch.cuda.CUDAGraph()
        if REGISTERED:
            graph.register_generator_state(self._generator)
        try:
            with torch.cuda.device(self._device), torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                result = step()
        except BaseException:
            # Some versions of PyTorch do not restore these after a failed capture.
            torch.cuda.set_stream(stream)
            for generator, state in drawn:
                generator.graphsafe_set_state(state)
            raise
        return Recording(graph.replay, result)

    def release(self) -> None:
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()


def _copied(result: StepResult) -> StepResult:
    """A copy in its own memory."""
    tensors: dict[str, Any] = {name: value.clone() for name, value in vars(result).items() if isinstance(value, Tensor)}
    return replace(result, **tensors, metrics={name: value.clone() for name, value in result.metrics.items()})


def _reason(error: BaseException) -> str:
    """The first line of the first error: ending a failed capture fails too, and that error comes last."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _forget(error: BaseException | None) -> None:
    """Release the tensors of a failed capture: the error refers to its traceback, and this to frames that hold them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        earlier = error.__context__
        error.__traceback__ = error.__context__ = error.__cause__ = None
        error = earlier
