"""The step as a CUDA graph: that nothing in any step waits for the device, and the bookkeeping, with a stand-in for it.

FakeTensorMode computes shapes only and refuses whatever would need a value: `.item()`, masks as indices, printing. So a
step that passes can be captured, up to what only a GPU shows.
"""

import contextlib
import warnings
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import hydra
import pytest
import torch
from conftest import every
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from labelnoise.cpu import compiler
from labelnoise.data.train_set import TrainSet
from labelnoise.experiment.run import compose
from labelnoise.losses.base import needs_of
from labelnoise.training import graphs
from labelnoise.training.clock import Clock
from labelnoise.training.learner import Learner
from labelnoise.training.method import Setup, StepResult


@contextlib.contextmanager
def shapes_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiler, "usable", lambda: False)  # a GPU runs the plain path
    with FakeTensorMode():
        yield


def take_two_steps(overrides: list[str], channels: int, size: int) -> StepResult:
    """Two steps of a configuration on images that have a shape only."""
    cfg = compose(overrides)
    images = torch.zeros(64, channels, size, size, dtype=torch.uint8)
    labels = torch.zeros(64, dtype=torch.long)
    augment, generator = hydra.utils.instantiate(cfg.dataset.augment), torch.Generator()
    facts = (10, (0.5,) * channels, (0.5,) * channels, augment, generator)
    train = TrainSet(images, labels, *facts, TrainSet(images[:32], labels[:32], *facts))
    make, optimizer, schedule = map(hydra.utils.instantiate, (cfg.network, cfg.optimizer, cfg.schedule))

    loss, regulariser = hydra.utils.instantiate(cfg.loss), hydra.utils.instantiate(cfg.regulariser)
    loss = partial(loss, generator=generator) if "generator" in needs_of(loss) else loss
    of_weights = regulariser is not None and needs_of(regulariser) == {"weights"}

    def make_learner(extra_outputs: int = 0) -> Learner:
        network = make(10 + extra_outputs, channels, size)
        penalty = regulariser if of_weights else None
        return Learner(network, optimizer, schedule, 2, cfg.clip_norm, torch.bfloat16, penalty=penalty)

    setup = Setup(make_learner, loss, train, Clock(2, 32), None if of_weights else regulariser)
    method = hydra.utils.instantiate(cfg.method)(setup)
    method.begin_epoch()
    for feed in method.feeds():
        result = method.step(feed)
    return result


@pytest.mark.parametrize("regulariser", every("regulariser"))
def test_no_regulariser_waits_for_the_device(regulariser: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(["dataset=digits", f"regulariser={regulariser}"], 1, 8)


@pytest.mark.parametrize("loss", every("loss"))
def test_no_loss_waits_for_the_device(loss: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        result = take_two_steps(["dataset=digits", f"loss={loss}"], 1, 8)
        assert result.loss.shape == ()
        assert result.predicted is not None
        assert result.predicted.shape == (32,)


@pytest.mark.parametrize("method", every("method"))
def test_no_method_waits_for_the_device(method: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(["dataset=digits", "noise=sym", "rate=0.4", f"method={method}"], 1, 8)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_no_augmentation_waits_for_the_device(dataset: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps([f"dataset={dataset}", "network=cnn4"], 3, 32)


@pytest.mark.parametrize("network", [n for n in every("network") if n != "timm"])
def test_no_network_waits_for_the_device(network: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(["dataset=mnist", f"network={network}"], 1, 28)


def test_waiting_would_be_seen(monkeypatch) -> None:
    with shapes_only(monkeypatch):
        monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *a: float(torch.ones(())))
        with pytest.raises(DataDependentOutputException):
            take_two_steps(["dataset=digits"], 1, 8)


class StandIn:
    """In place of torch.cuda.CUDAGraph."""

    made: list["StandIn"] = []  # noqa: RUF012

    def __init__(self) -> None:
        self.replays, self.registered = 0, []
        self.made.append(self)

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.registered.append(generator)

    def pool(self) -> "StandIn":
        return self

    def replay(self) -> None:
        self.replays += 1
        self.recorded()


class Drawn:
    """A generator whose state a failed capture spoils."""

    def __init__(self) -> None:
        self.state = "good"

    def clone_state(self) -> str:
        return self.state

    def graphsafe_set_state(self, state: str) -> None:
        self.state = state


class Replayed(graphs._Graph):
    """Its graph does in Python what a captured one does: reads the index in place, writes over the outputs."""

    def _capture(self) -> None:
        super()._capture()
        graph = StandIn.made[-1]
        graph.recorded = lambda: [self._outputs[k].copy_(v) for k, v in self._step(self._index).items()]


@pytest.fixture
def streams() -> list[str]:
    """Those that were made the current one."""
    return []


@pytest.fixture
def stand_in(monkeypatch, streams: list[str]) -> type[StandIn]:
    @contextlib.contextmanager
    def capture(graph: StandIn, pool: StandIn | None) -> Iterator[None]:
        graph.memory_of = pool
        yield

    StandIn.made.clear()
    cuda = SimpleNamespace(
        CUDAGraph=StandIn,
        graph=capture,
        synchronize=lambda device: None,
        current_stream=lambda device: "before",
        set_stream=streams.append,
        default_generators=[Drawn()],
    )
    monkeypatch.setattr(graphs, "REGISTERED", True)
    monkeypatch.setattr(graphs.torch, "cuda", cuda)
    monkeypatch.setattr(graphs, "_last", {})
    monkeypatch.setattr(graphs, "_told", set())
    return StandIn


def test_every_step_is_taken_once_whether_replayed_or_not(stand_in: type[StandIn]) -> None:
    """Ten steps, the last one shorter: three as they are, six replays, one as it is; the same in the next epoch."""
    order, generator = list(torch.arange(37).split(4)), Drawn()
    for _ in range(2):
        graphed = Replayed(lambda index: {"loss": index.double().mean()}, order[0], generator)
        outputs = [graphed(index)["loss"] for index in order]
        assert [float(o) for o in outputs] == [float(index.double().mean()) for index in order], "each its own"
    first, second = stand_in.made
    assert first.replays == second.replays == 6
    assert first.registered == second.registered == [generator]
    assert (first.memory_of, second.memory_of) == (None, first), "a graph takes over the memory of the one before"


def test_what_cannot_be_captured_runs_as_it_is_and_says_so_once(stand_in: type[StandIn], streams, monkeypatch) -> None:
    generator = Drawn()

    @contextlib.contextmanager
    def refused(graph: StandIn, pool: int | None) -> Iterator[None]:
        generator.state = "spoilt"
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        except RuntimeError:
            raise RuntimeError("the capture was invalidated")  # noqa: B904
        yield

    monkeypatch.setattr(graphs.torch.cuda, "graph", refused)
    order = list(torch.arange(40).split(4))

    def epoch() -> list[int]:
        graphed = graphs._Graph(lambda index: {"loss": index.sum()}, order[0], generator)
        return [int(graphed(index)["loss"]) for index in order]

    with pytest.warns(RuntimeWarning, match="without a CUDA graph here: operation not permitted"):
        assert epoch() == [int(index.sum()) for index in order]
    assert (generator.state, streams) == ("good", ["before"]), "nothing of the attempt is left"
    with warnings.catch_warnings(action="error"):
        assert epoch() == [int(index.sum()) for index in order]


def test_the_cpu_runs_the_step_itself() -> None:
    step = lambda index: {"loss": index.sum()}  # noqa: E731
    assert graphs.as_graph(step, [torch.arange(4)], torch.Generator()) is step
    assert graphs.as_graph(step, [], torch.Generator()) is step
