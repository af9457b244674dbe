"""Steps as recordings: each is taken once, and what is wrong with a recording or a step is caught before it counts."""

import contextlib
import gc
import random
import warnings
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from support import recorders
from support.recorders import Frozen
from support.replaying import BATCH, EPOCHS, IMAGES, make, plainly, same, train
from support.toy_methods import Staged, TwoInAList
from torch import Tensor

from labelnoise.data.streamed import StreamedTrainSet
from labelnoise.data.train_set import TrainSet
from labelnoise.meta_learning.l2rw import L2RW
from labelnoise.methods.co_teaching import CoTeaching
from labelnoise.methods.erm import ERM
from labelnoise.training import graphs, learner
from labelnoise.training.graphs import Steps
from labelnoise.training.method import Feed, Method, Setup, StepResult

BEFORE = "without a CUDA graph from here on: "


@pytest.fixture(autouse=True)
def as_in_a_new_process(monkeypatch) -> None:
    monkeypatch.setattr(graphs, "given_up", False)


# ------------------------------------------------------------------------------------------------------- right ones


@pytest.mark.parametrize(
    "method",
    [ERM, L2RW, partial(CoTeaching, forget_rate=0.4, ramp=0.5), TwoInAList],
    ids=["erm", "l2rw", "co", "two"],
)
def test_replayed_training_equals_plain_training(method, monkeypatch) -> None:
    """Every step counts once: nothing of the comparison is left, random numbers included."""
    monkeypatch.setattr(learner, "TENSOR_RATES", ("cpu",))
    expected = plainly(method)
    made = make(method)
    recorder = Frozen(made)
    with warnings.catch_warnings(action="error"):
        assert same(train(made, Steps(made, recorder=recorder)), expected)
    assert recorder.recorded >= 1
    assert recorder.launched > 2 * recorder.recorded, "more than the comparison"
    assert recorder.released == recorder.recorded


@pytest.mark.parametrize("tensor", [True, False])
def test_a_graph_is_recorded_once_a_run_unless_a_rate_is_a_number(tensor: bool, monkeypatch) -> None:
    """Of the full batches; the partial one of each epoch comes too seldom."""
    monkeypatch.setattr(learner, "TENSOR_RATES", ("cpu",) if tensor else ())
    made = make(ERM)
    recorder = Frozen(made)
    train(made, Steps(made, recorder=recorder))
    assert recorder.recorded == (1 if tensor else EPOCHS)
    full = 5 * EPOCHS
    plain = graphs.PLAIN if tensor else graphs.PLAIN * EPOCHS
    compared = 2 * recorder.recorded
    assert recorder.launched == full - plain + compared
    assert recorder.plain == plain + EPOCHS + compared


def test_another_number_in_a_module_makes_new_graphs(monkeypatch) -> None:
    """A method that sets a plain attribute for an epoch: as `begin_epoch` may do with a stage's weight."""
    monkeypatch.setattr(learner, "TENSOR_RATES", ("cpu",))

    class Weighted(ERM):
        def begin_epoch(self) -> None:
            self.factor = 1.0 if self.clock.epoch < 2 else 0.5

        def objective(self, *given: Any) -> Tensor:
            return self.factor * super().objective(*given)

    expected, made = plainly(Weighted), make(Weighted)
    recorder = Frozen(made)
    assert same(train(made, Steps(made, recorder=recorder)), expected)
    assert recorder.recorded == 2


def test_a_buffer_made_anew_between_epochs_makes_new_graphs(monkeypatch) -> None:
    monkeypatch.setattr(learner, "TENSOR_RATES", ("cpu",))

    class Remade(ERM):
        def __init__(self, setup: Setup) -> None:
            super().__init__(setup)
            self.register_buffer("weight", torch.ones(len(setup.train)))

        def begin_epoch(self) -> None:
            old = self.weight  # kept alive, so that the new one is elsewhere
            self.weight = old * 0.5
            self.old = [old]

        def objective(self, given: Any, batch: Any) -> Tensor:
            return self.weight[batch.index] * super().objective(given, batch)

    expected, made = plainly(Remade), make(Remade)
    recorder = Frozen(made)
    assert same(train(made, Steps(made, recorder=recorder)), expected)
    assert recorder.recorded == EPOCHS


def test_there_are_not_more_graphs_than_allowed(monkeypatch) -> None:
    monkeypatch.setattr(learner, "TENSOR_RATES", ("cpu",))
    monkeypatch.setattr(graphs, "MOST", 0)
    made = make(ERM)
    recorder = Frozen(made)
    assert same(train(made, Steps(made, recorder=recorder)), plainly(ERM))
    assert recorder.recorded == 0


# ------------------------------------------------------------------------------------------------- wrong recordings

WRONG: dict[str, tuple[Callable[[Method], Frozen], str]] = {
    "old images": (recorders.OldImages, "step 1 of a replay gives a different"),
    "old rate": (recorders.OldRate, "step 2 of a replay gives a different loss"),
    "old outputs": (recorders.OldOutputs, "step 1 of a replay gives a different"),
    "no random numbers": (recorders.NoRandomNumbers, ""),
    "a weight": (lambda m: recorders.KeepsBack(m, "/learner.network.4.weight"), "step 2 of a replay gives a different"),
    "a mean": (
        lambda m: recorders.KeepsBack(m, "/learner.network.1.running_mean"),
        "a replay leaves a different learner.network.1.running_mean",
    ),
    "a count": (
        lambda m: recorders.KeepsBack(m, "/learner.network.1.num_batches_tracked"),
        "a replay leaves a different learner.network.1.num_batches_tracked",
    ),
    "momentum": (lambda m: recorders.KeepsBack(m, "/learner._extra_state/state/4/momentum_buffer"), "a replay "),
    "fails to launch": (recorders.FailsToLaunch, "an illegal memory access was encountered$"),
    "fails to record": (recorders.FailsToRecord, "operation not permitted when stream is capturing$"),
}


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_recording_is_caught_and_leaves_no_trace(wrong: str, exact: bool, monkeypatch) -> None:
    monkeypatch.setattr(learner, "TENSOR_RATES", ("cpu",))
    kind, reason = WRONG[wrong]
    expected, made = plainly(ERM), make(ERM)
    recorder = kind(made)
    recorder.exact = exact
    with pytest.warns(RuntimeWarning, match=BEFORE + reason) as caught:
        assert same(train(made, Steps(made, recorder=recorder)), expected)
    assert len(caught) == 1
    assert recorder.recorded <= 1, "no second attempt"


def test_random_numbers_are_compared_though_nothing_depends_on_them(monkeypatch) -> None:
    """A generator that stands still shows even where both steps come out the same."""

    class DrawsForNothing(ERM):
        def step(self, feed: Feed) -> StepResult:
            index = feed.index["train"]
            torch.rand(3)
            loss = self.learner(self.train_set.plain(index)).square().mean()
            self.learner.update(loss)
            return StepResult(loss.detach(), index)

    made = make(lambda setup: DrawsForNothing(setup))
    made.learner.network[2].p = 0.0
    with pytest.warns(RuntimeWarning, match="a replay draws a different number of random numbers"):
        train(made, Steps(made, recorder=recorders.NoRandomNumbers(made)))


@pytest.mark.parametrize("noise", [1e-4, 0.2])
def test_where_sums_may_be_reordered_small_differences_pass(noise: float, monkeypatch) -> None:
    """A GPU without fixed algorithms: two plain runs differ, by far less than anything that is wrong."""
    monkeypatch.setattr(learner, "TENSOR_RATES", ("cpu",))

    class Noisy(Frozen):
        exact = False

        def launch(self, *recorded: Any) -> None:
            weights = [w for one in self.method.learners() for w in one.network.parameters()]
            before = [w.detach().clone() for w in weights]
            super().launch(*recorded)
            with torch.no_grad():
                for weight, old in zip(weights, before, strict=True):
                    weight += noise * (weight - old)

    made = make(ERM)
    recorder = Noisy(made)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(made, Steps(made, recorder=recorder))
    assert bool(caught) == (noise > graphs.replay.UPDATE)


# ------------------------------------------------------------------------------------------------------ wrong steps


class Counts(ERM):
    """A counter in Python."""

    taken = 0

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.taken = 0

    def objective(self, *given: Any) -> Tensor:
        self.taken += 1
        return super().objective(*given) / self.taken


class Remembers(ERM):
    """A list in Python, of which nothing depends on yet."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.lengths: list[int] = []

    def objective(self, *given: Any) -> Tensor:
        self.lengths.append(len(self.lengths))
        return super().objective(*given)


class ReadsTheEpoch(ERM):
    def objective(self, *given: Any) -> Tensor:
        return super().objective(*given) * (1 + self.clock.epoch)


class Rebinds(ERM):
    """A buffer that is another tensor after every step."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.register_buffer("seen", torch.zeros(len(setup.train)))

    def objective(self, given: Any, batch: Any) -> Tensor:
        self.kept = [self.seen]
        self.seen = self.seen + 1
        return super().objective(given, batch)


class DrawsInPython(ERM):
    def objective(self, *given: Any) -> Tensor:
        return super().objective(*given) * random.random()


class HandsOutACopy(ERM):
    """Its state is not the tensor that a step changes."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.sums = [torch.zeros(())]

    def objective(self, *given: Any) -> Tensor:
        values = super().objective(*given)
        self.sums[0] += values.detach().sum()
        return values + self.sums[0]

    def get_extra_state(self) -> Any:
        return {"sums": self.copy}

    def set_extra_state(self, state: Any) -> None:
        self.sums = [state["sums"].clone()]

    @property
    def copy(self) -> Tensor:
        if not hasattr(self, "_handed"):
            self._handed = [self.sums[0].clone()]
        return self._handed[0].copy_(self.sums[0])


BROKEN: dict[type[Method], str] = {
    Counts: "taken, which is not a tensor, changed while it was recorded",
    Remembers: "lengths, which is not a tensor, changed while it was recorded",
    ReadsTheEpoch: "step 1 of a replay gives a different loss",
    Staged: "step 1 of a replay gives a different stage",
    Rebinds: "seen moved in memory while it was recorded; write into it",
    DrawsInPython: "step 1 of a replay gives a different loss",
    HandsOutACopy: "_extra_state sums is a copy in the method's state, not the tensor itself",
}


@pytest.mark.parametrize("method", BROKEN, ids=lambda m: m.__name__)
def test_a_step_that_depends_on_python_is_caught(method: type[Method], monkeypatch) -> None:
    monkeypatch.setattr(learner, "TENSOR_RATES", ("cpu",))
    random.seed(0)
    batch_size = 4 if method is Staged else BATCH  # its second stage has half of the images
    expected, made = plainly(method, batch_size), make(method, batch_size)
    with pytest.warns(RuntimeWarning, match=BEFORE + BROKEN[method]) as caught:
        seen = train(made, Steps(made, recorder=Frozen(made)))
    assert len(caught) == 1
    if method is not DrawsInPython:  # whose draws nothing can give back
        assert same(seen, expected), "the comparison left no trace"


def test_after_a_failure_no_graph_is_tried_again_in_this_process(monkeypatch) -> None:
    made = make(ReadsTheEpoch)
    with pytest.warns(RuntimeWarning, match=BEFORE):
        train(made, Steps(made, recorder=Frozen(made)), epochs=1)
    monkeypatch.setattr(graphs, "CudaRecorder", lambda *_: pytest.fail("a second attempt"))
    on_gpu = make(ERM)
    on_gpu.train_set.labels = OnGpu(on_gpu.train_set.labels)  # type: ignore[assignment]
    Steps(on_gpu)


def test_graphs_false_and_streamed_images_record_nothing(monkeypatch) -> None:
    made = make(ERM)
    made.train_set.labels = OnGpu(made.train_set.labels)  # type: ignore[assignment]
    monkeypatch.setattr(graphs, "CudaRecorder", lambda *_: pytest.fail("a recorder"))
    Steps(made, graphs=False)
    with monkeypatch.context() as streamed:
        streamed.setattr(TrainSet, "on_device", StreamedTrainSet.on_device)
        Steps(made)
    with pytest.raises(pytest.fail.Exception, match="a recorder"):
        Steps(made)


class OnGpu:
    """Labels that say that they lie on a GPU."""

    def __init__(self, labels: Tensor) -> None:
        self.labels, self.device = labels, torch.device("cuda:0")


def test_a_failed_attempt_keeps_no_tensor(monkeypatch) -> None:
    """The traceback's frames hold what a step had made when it failed: gigabytes of activations."""
    held: list[weakref.ref[Tensor]] = []

    class Fails(Frozen):
        def record(self, step: Callable[[], StepResult]) -> graphs.Recording:
            activations = torch.zeros(1000)
            held.append(weakref.ref(activations))
            try:
                raise RuntimeError("while capturing")
            except RuntimeError as error:
                cause = error  # a frame that holds the exception that holds the frame
                raise RuntimeError("invalidated") from cause

    gc.disable()
    try:
        made = make(ERM)
        with pytest.warns(RuntimeWarning, match=BEFORE + "while capturing"):
            train(made, Steps(made, recorder=Fails(made)), epochs=1)
        assert held[0]() is None
    finally:
        gc.enable()


def test_the_cpu_runs_the_step_itself() -> None:
    made = make(ERM)
    taken = []
    step = made.step
    made.step = lambda feed: taken.append(feed) or step(feed)  # type: ignore[method-assign]
    train(made, Steps(made), epochs=1)
    assert len(taken) == -(-IMAGES // BATCH), "every one, none from a recording"


# ------------------------------------------------------------------------------------------------------- CUDA's own


class Drawn:
    """A generator whose state a failed capture spoils."""

    def __init__(self) -> None:
        self.state = "good"

    def clone_state(self) -> str:
        return self.state

    def graphsafe_set_state(self, state: str) -> None:
        self.state = state


class FakeCuda:
    """What `CudaRecorder` uses of torch.cuda, noting in which order."""

    def __init__(self, fails: bool = False) -> None:
        self.said: list[object] = []
        self.fails, self.stream_now = fails, "default"
        self.default_generators = [Drawn(), Drawn()]

    def Stream(self, device: torch.device) -> "FakeStream":  # noqa: N802
        return FakeStream(self, f"own stream of {device}")

    def current_stream(self, device: torch.device) -> "FakeStream":
        return FakeStream(self, self.stream_now)

    def set_stream(self, stream: "FakeStream") -> None:
        self.stream_now = stream.name

    def graph_pool_handle(self) -> str:
        return "one pool"

    @contextlib.contextmanager
    def stream(self, stream: "FakeStream") -> Iterator[None]:
        before, self.stream_now = self.stream_now, stream.name
        yield
        self.stream_now = before

    @contextlib.contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        self.said.append(f"on {device}")
        yield

    @contextlib.contextmanager
    def graph(self, graph: "FakeCuda", pool: str, stream: "FakeStream") -> Iterator[None]:
        self.said.append(("capture", pool, stream.name))
        self.stream_now = stream.name
        if self.fails:
            self.default_generators[1].state = "spoilt"
            raise RuntimeError("no capture")  # and the stream is not put back
        yield
        self.stream_now = "default"

    def CUDAGraph(self) -> "FakeCuda":  # noqa: N802
        return self

    def register_generator_state(self, generator: object) -> None:
        self.said.append(("registered", generator))

    def replay(self) -> None:
        self.said.append("replay")


class FakeStream:
    def __init__(self, cuda: FakeCuda, name: str) -> None:
        self.cuda, self.name = cuda, name

    def wait_stream(self, other: "FakeStream") -> None:
        self.cuda.said.append(f"{self.name} waits for {other.name}")


@pytest.mark.parametrize("registered", [True, False])
def test_cuda_records_on_its_own_device_stream_and_pool(registered: bool, monkeypatch) -> None:
    cuda, generator, device = FakeCuda(), Drawn(), torch.device("cuda:1")
    monkeypatch.setattr(graphs.torch, "cuda", cuda)
    monkeypatch.setattr(graphs, "REGISTERED", registered)
    recorder = graphs.CudaRecorder(device, generator)  # type: ignore[arg-type]
    streams = []

    def step() -> StepResult:
        streams.append(cuda.stream_now)
        return StepResult(torch.zeros(()))

    recorder.plainly(step)
    own = "own stream of cuda:1"
    assert cuda.said == [f"{own} waits for default", f"default waits for {own}"]
    recording = recorder.record(step)
    assert streams == [own, own]
    recorded = [("registered", generator)] * registered + ["on cuda:1", ("capture", "one pool", own)]
    assert cuda.said[2:] == recorded
    recording.launch()
    assert cuda.said[-1] == "replay"
    assert not recorder.exact, "algorithms are not fixed"


def test_a_failed_capture_leaves_stream_and_generators_as_they_were(monkeypatch) -> None:
    cuda, generator = FakeCuda(fails=True), Drawn()
    monkeypatch.setattr(graphs.torch, "cuda", cuda)
    recorder = graphs.CudaRecorder(torch.device("cuda:1"), generator)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="no capture"):
        recorder.record(lambda: StepResult(torch.zeros(())))
    assert cuda.stream_now == "default"
    assert [one.state for one in (generator, *cuda.default_generators)] == ["good"] * 3
