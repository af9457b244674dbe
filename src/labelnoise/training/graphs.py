"""A method's steps on a GPU as CUDA graphs: the hundreds of kernels of a step are launched by one call.

A graph repeats what it recorded: the same kernels on the same places in memory, with every Python number as it was. So
a step may depend on its feed and on tensors that keep their place, and on nothing else. A step that breaks this rule
would train wrongly and in silence; so each graph is compared with the plain step before it is used, see
`labelnoise.training.replay`.
"""

import contextlib
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from labelnoise.training import replay
from labelnoise.training.method import Feed, Method, StepResult
from labelnoise.training.snapshot import Snapshot, constants

PLAIN = 3  # steps of each kind before its graph: optimizers make their state, cuDNN and Triton choose in them
MOST = 32  # graphs of a method; what is of further kinds or sizes runs plainly
REGISTERED = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14)  # from there on a capture sees what draws

_given_up = False  # a failed capture may leave this process's CUDA unable to capture: no second attempt


class Recording(NamedTuple):
    """Attributes: launch, repeats the step on the inputs as they are now; result, where it writes what it returns."""

    launch: Callable[[], object]
    result: StepResult


class Recorder(Protocol):
    """What turns a step into a recording of it: `CudaRecorder`, or a stand-in for it in a test."""

    exact: bool  # whether a recording must repeat every bit

    def plainly(self, step: Callable[[], StepResult]) -> StepResult:
        """Run a step as it is."""

    def record(self, step: Callable[[], StepResult]) -> Recording:
        """Record a step without running it. Raises: any exception where the step cannot be recorded."""

    def release(self) -> None:
        """Give back the memory that nothing uses any more."""


class Steps:
    """A method's step, called with one feed after another; on a GPU it is replayed for kinds and sizes already seen.

    A graph is recorded once for each kind and sizes. All are dropped, and recorded again, when a new epoch finds a
    tensor of the method at another place, another Python number in one of its modules, or another hyper-parameter in an
    optimizer, such as a learning rate that is no tensor. Where a step cannot be recorded, or its graph does something
    else than the step, one warning says why; the steps of this process run plainly from then on, from the same state.

    Args:
        method: whose `step` is run.
        graphs: False runs every step plainly.
        recorder: in place of the device's own, which a CPU does not have.
    """

    def __init__(self, method: Method, graphs: bool = True, recorder: Recorder | None = None) -> None:
        data, device = method.train_set, method.train_set.labels.device
        if recorder is None and device.type == "cuda" and data.on_device and graphs and not _given_up:
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
        kind = self._kinds.setdefault((feed.kind, sizes), _Kind())
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
        """Drop every graph if a constant has changed, before the plain steps that precede the next ones."""
        now = constants(self._method)
        if now != self._constants:
            self._kinds.clear()
        self._epoch, self._constants = self._method.clock.epoch, now

    def _recorded(self, earlier: Feed, feed: Feed) -> "_Graph | None":
        """A graph that was found to do what the step does, the method left as it was; None: no graphs from here on."""
        assert self._recorder is not None
        before, graph = Snapshot(self._method), None
        try:
            graph = _Graph(self._method, feed, self._recorder)
            steps = (earlier, feed)
            reason = replay.difference(self._method, before, steps, self._plainly, graph, self._recorder.exact)
        except Exception as error:  # whatever a step, CUDA or a compiler raises: the plain step is still there
            reason = _reason(error)
            _forget(error)
        if reason is None:
            self._constants = before.constants  # plain steps have made the optimizer's state since the epoch began
            self._recorder.release()  # what the plain steps used
            return graph
        del graph
        self._give_up(reason)
        before.load()
        return None

    def _give_up(self, reason: str) -> None:
        """No graphs in this process from here on."""
        global _given_up
        _given_up = True
        recorder, self._recorder = self._recorder, None
        self._kinds.clear()
        warnings.warn(f"steps run without a CUDA graph from here on: {reason}", RuntimeWarning, stacklevel=2)
        if recorder is not None:
            with contextlib.suppress(RuntimeError):  # where CUDA itself has failed, the next step says so
                recorder.release()


@dataclass
class _Kind:
    """Attributes: taken, plain steps so far; earlier, the feed of the last of them; graph, once there is one."""

    taken: int = 0
    earlier: Feed | None = None
    graph: "_Graph | None" = None


class _Graph:
    """A recording of a step on an index that stays where it is."""

    def __init__(self, method: Method, like: Feed, recorder: Recorder) -> None:
        self._index = {name: positions.clone() for name, positions in like.index.items()}
        self._recording = recorder.record(lambda: method.step(Feed(like.kind, self._index)))

    def __call__(self, feed: Feed) -> StepResult:
        for name, positions in feed.index.items():
            self._index[name].copy_(positions)
        self._recording.launch()
        return _copied(self._recording.result)  # the next launch writes over it


class CudaRecorder:
    """Records by torch's CUDA graphs, in a stream of its own: the default one belongs to the first device.

    Args:
        device: where the method computes.
        generator: what its steps draw from, besides the default generator.
    """

    def __init__(self, device: torch.device, generator: torch.Generator) -> None:
        self._device, self._generator = device, generator
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()  # one for all graphs: they never run at the same time
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
            # Not every PyTorch leaves a failed capture as it found things.
            torch.cuda.set_stream(stream)
            for generator, state in drawn:
                generator.graphsafe_set_state(state)
            raise
        return Recording(graph.replay, result)

    def release(self) -> None:
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()


def _copied(result: StepResult) -> StepResult:
    """The same numbers in memory of their own."""

    def copy(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.clone()

    return StepResult(
        result.loss.clone(),
        copy(result.index),
        copy(result.predicted),
        copy(result.selected),
        copy(result.target),
        {name: value.clone() for name, value in result.metrics.items()},
    )


def _reason(error: BaseException) -> str:
    """The first line of what made a capture fail: a failed capture fails to end, too, and that comes last."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _forget(error: BaseException | None) -> None:
    """Let go of the tensors of a failed capture: frames hold them, the traceback the frames, and a frame the error."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        earlier = error.__context__
        error.__traceback__ = error.__context__ = error.__cause__ = None
        error = earlier
