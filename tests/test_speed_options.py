"""Options that make runs faster: several at once, compiled networks; and that they do not change results."""

import shutil
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from support.configs import with_values

from labelnoise.config import identity
from labelnoise.experiment.run import compose, run
from labelnoise.launch.run_many import run_many
from labelnoise.networks.cnn import cnn4
from labelnoise.records import store
from labelnoise.training import device
from labelnoise.training.graphs import Steps
from labelnoise.training.learner import Learner
from labelnoise.training.method import Method

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=1", "num_trusted=1300"]


class Here(Executor):
    """Runs in this process what would have processes of its own, each of which takes seconds to import torch."""

    def __init__(self, at_once: int, context: object) -> None:
        self.at_once = at_once

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future


def test_packed_runs_equal_the_same_runs_alone(tmp_path: Path, monkeypatch) -> None:
    """And one that fails lets the others finish, whose records come in the order of the configurations."""
    chosen = [[*SHORT, f"seed={seed}", f"loss={loss}"] for seed, loss in ((1, "agce"), (2, "ce"), (3, "nlnl"))]
    packed = [compose([*o, f"results={tmp_path / 'packed'}"]) for o in chosen]
    failing = with_values(packed[1], seed=4)
    failing.optimizer.lr = 1e9
    with pytest.raises(ExceptionGroup, match="1 of 4 runs failed") as failed:
        run_many([failing, *packed], at_once=2)
    (error,) = failed.value.exceptions
    assert isinstance(error, FloatingPointError)
    assert "NaN or infinite at epoch 1" in str(error)
    assert len(list((tmp_path / "packed").glob("*.json"))) == 3

    monkeypatch.setattr("labelnoise.launch.run_many.ProcessPoolExecutor", Here)
    monkeypatch.setattr("labelnoise.training.loop.fit", lambda *_: pytest.fail("there are records"))
    found = run_many(packed, at_once=2)
    monkeypatch.undo()
    for overrides, record in zip(chosen, found, strict=True):
        alone = run(compose([*overrides, f"results={tmp_path / 'alone'}", "threads=1"]), quiet=True)
        assert all(alone[key] == record[key] for key in store.KEYS[:-1])
        assert record["environment"]["threads"] == 1


def test_at_once_must_be_positive() -> None:
    with pytest.raises(ValueError, match="at_once=0"):
        run_many([], at_once=0)


def test_without_a_compiler_one_warning_and_eager_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler found")

    monkeypatch.setattr(torch, "compile", broken)
    cfg = compose([*SHORT, "compile=true", "threads=1", f"results={tmp_path}"])
    with pytest.warns(RuntimeWarning, match="compile=true: no compiler works here, running eagerly"):
        record = run(cfg, quiet=True)
    assert record["environment"]["compiled"] is False
    assert record["config"]["compile"] is True


def test_options_that_change_results_are_part_of_the_id() -> None:
    plain, compiled, fixed = (
        identity.run_id(identity.effective(compose(o))) for o in ([], ["compile=true"], ["deterministic=true"])
    )
    assert len({plain, compiled, fixed}) == 3


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_compiled_steps_agree_with_eager_ones() -> None:
    """In float32: first gradients within 1e-4 and the loss within 1e-3 (relative) over 20 steps."""
    assert device.compiler_works(torch.device("cpu"))
    cfg = compose(["dataset=digits"])
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(20, 32, 1, 28, 28, generator=generator).to(torch.float32)
    labels = torch.randint(0, 10, (20, 32), generator=generator)
    losses, gradients = [], []
    for compile in (False, True):
        torch.manual_seed(0)
        network = cnn4(10, 1, 28).to(memory_format=torch.channels_last)
        make, schedule = hydra.utils.instantiate(cfg.optimizer), hydra.utils.instantiate(cfg.schedule)
        learner = Learner(network, make, schedule, range(20), 5.0, torch.float32, compile)
        learner.begin_epoch(0)
        names = set(learner.state_dict()) - {"_extra_state"}  # the optimizer's
        assert all(name.startswith("network.") for name in names), "weights are held once"
        seen = []
        for step in range(20):
            loss = torch.nn.functional.cross_entropy(learner(images[step]), labels[step])
            learner.update(loss)
            seen.append(loss.item())
            if step == 0:
                gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
        losses.append(seen)
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("reserved", "said"),
    [(3.5, "over 4.0 of 140.0 GiB; at most 35 such runs"), (100, "over 100.5 of 140.0 GiB; give it the whole GPU")],
)
@pytest.mark.parametrize("where", ["experiment.run.assemble", "training.loop.fit", "training.loop.confusion_matrix"])
def test_full_gpu_memory_says_how_many_runs_fit(
    where: str, reserved: float, said: str, train, tmp_path: Path, monkeypatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB")

    monkeypatch.setattr(f"labelnoise.{where}", full)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: int(reserved * 2**30))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 140 * 2**30))
    ended = train(*SHORT, "threads=1", f"results={tmp_path}")
    assert ended.code == 1
    assert f"error: the GPU's memory is full: this run needs {said}" in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("CUDA out of memory. Tried to allocate 2 MiB", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED", True),
        ("CUDA error: out of memory\nCUDA kernel errors might be reported later", True),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_out_of_memory_errors_of_the_libraries_are_recognised(text: str, full: bool, monkeypatch) -> None:
    monkeypatch.setattr(device, "memory_full", lambda device: "full")
    with (
        pytest.raises(MemoryError if full else RuntimeError, match="full" if full else "illegal"),
        device.report_full_memory(torch.device("cuda:0")),
    ):
        raise RuntimeError(text)


def test_the_compiler_is_tried_where_it_will_be_used(monkeypatch) -> None:
    """A GPU's code comes from Triton, not from the C++ compiler that the CPU's needs."""
    seen = []
    monkeypatch.setattr(torch, "compile", lambda function: lambda x: seen.append(x.device))
    assert device.compiler_works(torch.device("meta"))
    assert seen == [torch.device("meta")]


def test_graphs_is_not_part_of_the_id_and_reaches_the_steps(tmp_path: Path, monkeypatch) -> None:
    """Values other than auto and false are refused."""
    given = []

    class Noted(Steps):
        def __init__(self, method: Method, graphs: bool) -> None:
            super().__init__(method, graphs)
            given.append(graphs)

    monkeypatch.setattr("labelnoise.training.loop.Steps", Noted)
    ids = set()
    for value in ("auto", "false"):
        cfg = compose([*SHORT, f"graphs={value}", f"results={tmp_path / value}", "threads=1"])
        ids.add(run(cfg, quiet=True)["run_id"])
    assert given == [True, False]
    assert len(ids) == 1
    with pytest.raises(ValueError, match="graphs=true: must be auto or false"):
        run(compose([*SHORT, "graphs=true", f"results={tmp_path}"]), quiet=True)
