"""A training step as one CUDA graph: its hundreds of kernels are launched by one call."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from labelnoise.training.method import Feed, Method, StepResult

Step = Callable[[Tensor], dict[str, Tensor]]
REGISTERED = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14)  # from there on a capture sees what draws
AS_IT_IS = 3  # steps of an epoch before the capture: optimizers, cuDNN and Triton settle in them


class Steps:
    """A method's step. Args: method."""

    def __init__(self, method: "Method") -> None:
        self._method = method

    def __call__(self, feed: "Feed") -> "StepResult":
        return self._method.step(feed)


_last: dict[int, torch.cuda.CUDAGraph] = {}  # by device; kept until the next one has taken over its memory
_told: set[str] = set()


def as_graph(step: Step, order: list[Tensor], generator: torch.Generator) -> Step:
    """The same step; on a GPU it is captured and replayed for every index of the first one's size.

    It is captured anew in every epoch, because learning rates and what a method does may change from one to the next.
    Where a step cannot be captured, because it waits for the device, it runs as it is and one warning says so.

    Args:
        step: `index (B,) -> outputs`. All else that it reads stays at the same place in memory.
        order: the epoch's indices.
        generator: what the step draws from, besides the default generator.
    """
    if not order or order[0].device.type != "cuda":
        return step
    return _Graph(step, order[0], generator)


class _Graph:
    def __init__(self, step: Step, like: Tensor, generator: torch.Generator) -> None:
        self._step, self._index, self._generator = step, like.clone(), generator
        self._taken, self._outputs = 0, dict[str, Tensor]()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._possible = True

    def __call__(self, index: Tensor) -> dict[str, Tensor]:
        self._taken += 1
        if len(index) == len(self._index) and self._taken > AS_IT_IS and self._possible and self._graph is None:
            self._capture()
        if self._graph is None or len(index) != len(self._index):
            return self._step(index)
        self._index.copy_(index)
        self._graph.replay()
        return {name: value.clone() for name, value in self._outputs.items()}  # the next replay writes over them

    def _capture(self) -> None:
        """Record the step without running it, into the memory of the graph before."""
        device = self._index.device.index or 0
        stream = torch.cuda.current_stream(device)
        drawn = (self._generator, torch.cuda.default_generators[device])
        states = [generator.clone_state() for generator in drawn]
        graph = torch.cuda.CUDAGraph()
        if REGISTERED:
            graph.register_generator_state(self._generator)
        torch.cuda.synchronize(device)
        try:
            with torch.cuda.graph(graph, pool=_last[device].pool() if device in _last else None):
                self._outputs = self._step(self._index)
        except RuntimeError as error:
            self._possible = False
            # Not every PyTorch leaves a failed capture as it found things.
            torch.cuda.set_stream(stream)
            for generator, state in zip(drawn, states, strict=True):
                generator.graphsafe_set_state(state)
            cause = error.__context__ or error  # a failed capture fails to end, too
            reason = str(cause).strip().splitlines()[0]
            if reason not in _told:
                _told.add(reason)
                warnings.warn(f"a step runs without a CUDA graph here: {reason}", RuntimeWarning, stacklevel=2)
            return
        self._graph = _last[device] = graph
