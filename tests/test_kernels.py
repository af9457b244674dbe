"""The fused CPU kernels against plain torch: values, gradients, running statistics, and where torch must be used."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual

from labelnoise.cpu import batch_norm, compiler
from labelnoise.networks.base import BatchNormReLU
from labelnoise.networks.resnet import resnet18, resnet34

ROOT = Path(__file__).parents[1]
FORMS = ["relu", "pool", "residual"]

pytestmark = pytest.mark.usefixtures("one_thread")


def images(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


def module(channels: int, form: str, **options: float | bool | None) -> BatchNormReLU:
    made = BatchNormReLU(channels, pool=form == "pool", **options)  # type: ignore[arg-type]
    if made.affine:
        generator = torch.Generator().manual_seed(1)
        nn.init.normal_(made.weight, 0.5, 1, generator=generator)  # negative weights turn a window's order round
        nn.init.normal_(made.bias, generator=generator)
    return made


def trained(made: BatchNormReLU, x: Tensor, residual: Tensor | None) -> dict[str, Tensor]:
    """Output, gradients and statistics of one training step under a fixed random gradient."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    residual = None if residual is None else residual.detach().clone().requires_grad_()
    out = made(x, residual)
    out.backward(images(*out.shape, dtype=torch.bfloat16, seed=2).to(out.dtype))  # the same one in either precision
    results = {"out": out.detach(), "x": x.grad, "mean": made.running_mean, "var": made.running_var}
    if made.affine:
        results |= {"weight": made.weight.grad, "bias": made.bias.grad}
    if residual is not None:
        results["residual"] = residual.grad
    return {name: value.float() for name, value in results.items() if value is not None}


def fused_is_used(out: Tensor) -> bool:
    return type(out.grad_fn).__name__ == "_FusedBackward"


def close(got: Tensor, wanted: Tensor, tolerance: float) -> bool:
    return bool((got - wanted).abs().max() <= tolerance * wanted.abs().max().clamp(min=1e-6))


SHAPES = [(4, 3, 8, 8), (4, 16, 7, 8), (3, 20, 8, 5), (2, 196, 4, 4), (1, 16, 9, 9), (5, 33, 2, 2), (70, 16, 6, 6)]


CASES = [(shape, form) for shape in SHAPES for form in FORMS]
CASES += [(shape, form) for shape in ((8, 20, 1, 1), (3, 16, 1, 5)) for form in FORMS if form != "pool"]


@pytest.mark.parametrize(("shape", "form"), CASES, ids=str)
def test_float32_equals_plain(shape: tuple[int, ...], form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = images(*shape) * 3 + 5
    residual = images(*shape, seed=3) if form == "residual" else None
    made = module(shape[1], form)
    assert fused_is_used(made(x.requires_grad_(), residual))
    fused = trained(module(shape[1], form), x, residual)
    monkeypatch.setattr(batch_norm, "_fusible", lambda *_: False)
    plain = trained(module(shape[1], form), x, residual)
    assert fused.keys() == plain.keys()
    for name, value in plain.items():
        assert fused[name].shape == value.shape
        assert close(fused[name], value, 1e-5), name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bfloat16_is_one_rounding_from_float32(
    shape: tuple[int, ...], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = images(*shape, dtype=torch.bfloat16)
    residual = images(*shape, dtype=torch.bfloat16, seed=3) if form == "residual" else None
    fused = trained(module(shape[1], form), x, residual)
    monkeypatch.setattr(batch_norm, "_fusible", lambda *_: False)
    plain = trained(module(shape[1], form), x.float(), None if residual is None else residual.float())
    for name in ("out", "x", *(["residual"] if residual is not None else [])):
        error, size = (fused[name] - plain[name]).abs(), plain[name].abs()
        assert (error <= size * 2**-8 + 1e-5 * size.max()).all(), name  # half a unit in the last of 8 bits
    for name in ("mean", "var", "weight", "bias"):
        assert close(fused[name], plain[name], 1e-5), name


def test_ties_in_pooling_go_to_the_first_pixel() -> None:
    x = torch.ones(2, 16, 4, 4)
    x[..., 1::2, 1::2] = 0  # three of each window's four tie; the variance stays above nothing
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    made = BatchNormReLU(16, pool=True)
    out = made(x)
    assert fused_is_used(out)
    out.backward(images(*out.shape))
    with torch.no_grad():  # x is the same in the first three pixels of a window, so dx differs by the share of g alone
        shares = x.grad - x.grad[..., 0::2, 1::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert (shares[..., 0::2, 0::2].abs() > 1e-4).float().mean() > 0.95
    assert (shares[..., 1::2, 0::2].abs() < 1e-5).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_not_finite_stays_so(form: str, value: float, dtype: torch.dtype) -> None:
    x = images(4, 16, 4, 4, dtype=dtype)
    x[2, 5, 1, 3] = value
    results = trained(module(16, form), x, images(4, 16, 4, 4, dtype=dtype) if form == "residual" else None)
    for name in ("out", "x"):
        assert not results[name][:, 5].isfinite().any(), name
        assert results[name][:, :5].isfinite().all(), name
    assert not results["weight"][5].isfinite()
    assert not results["var"][5].isfinite()


def test_nan_in_the_residual_and_in_the_gradient_stays() -> None:
    x, residual = images(4, 16, 4, 4), images(4, 16, 4, 4)
    residual[1, 2, 3, 0] = float("nan")
    assert module(16, "residual")(x, residual)[1, 2, 3, 0].isnan()
    out = module(16, "relu")(x.requires_grad_())
    grad = images(4, 16, 4, 4)
    grad[:, 7] = float("nan")
    out.backward(grad)
    assert x.grad is not None
    assert x.grad[:, 7].isnan().all()
    assert x.grad[:, :7].isfinite().all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_repeat_and_do_not_depend_on_threads(form: str, dtype: torch.dtype) -> None:
    x = images(9, 20, 10, 6, dtype=dtype)
    residual = images(9, 20, 10, 6, dtype=dtype, seed=3) if form == "residual" else None
    once, again = (trained(module(20, form), x, residual) for _ in range(2))
    torch.set_num_threads(2)
    two = trained(module(20, form), x, residual)
    assert torch.get_num_threads() == 2
    for name, value in once.items():
        assert torch.equal(value, again[name]), name
        assert torch.equal(value, two[name]), name


def test_a_large_mean_costs_no_digits() -> None:
    x = (images(8, 16, 8, 8).double() * 0.1 + 1000).float().contiguous(memory_format=torch.channels_last)
    made = BatchNormReLU(16)
    assert fused_is_used(made(x.requires_grad_()))
    variance = x.detach().double().var(dim=(0, 2, 3))
    assert close(made.running_var.double() - 0.9, 0.1 * variance, 1e-3)


def test_running_statistics_without_momentum_are_the_plain_average() -> None:
    mine, theirs = BatchNormReLU(16, momentum=None), nn.BatchNorm2d(16, momentum=None)
    for seed in range(3):
        x = images(4, 16, 5, 5, seed=seed)
        mine(x), theirs(x)
    for name, value in theirs.state_dict().items():
        assert close(mine.state_dict()[name].float(), value.float(), 1e-5), name


@pytest.mark.parametrize("form", FORMS)
def test_second_derivatives(form: str) -> None:
    x = images(3, 16, 4, 4, dtype=torch.float64).requires_grad_()
    residual = images(3, 16, 4, 4, dtype=torch.float64, seed=3).requires_grad_() if form == "residual" else None

    def penalty(dtype: torch.dtype) -> tuple[Tensor, ...]:
        made, inputs = module(16, form).to(dtype), [t.to(dtype) for t in (x, residual) if t is not None]
        inputs = [t.contiguous(memory_format=torch.channels_last) for t in inputs]
        out = made(*inputs)
        assert fused_is_used(out) == (dtype == torch.float32)
        first = torch.autograd.grad((out**2).sum(), [*inputs, made.weight], create_graph=True)
        leaves = [t for t in (x, residual) if t is not None]
        return torch.autograd.grad(sum((g**2).sum() for g in first), [*leaves, made.weight, made.bias])

    for got, wanted in zip(penalty(torch.float32), penalty(torch.float64), strict=True):
        assert close(got.double(), wanted.double(), 1e-4)


def along(form: str, dtype: torch.dtype, graph: bool = False) -> Tensor:
    """The forward derivative along a direction of the input, the residual, weight and bias at once."""
    made = module(16, form).double() if dtype == torch.float64 else module(16, form)
    inputs = [images(3, 16, 6, 4, dtype=torch.bfloat16, seed=k).to(dtype) for k in range(1 + (form == "residual"))]
    primals, draws = [*inputs, made.weight, made.bias], torch.Generator().manual_seed(9)
    directions = [torch.randn(x.shape, generator=draws).bfloat16().to(x) for x in primals]
    with torch.set_grad_enabled(graph), dual_level():
        *pictures, weight, bias = map(make_dual, primals, directions)
        out = torch.func.functional_call(made, {"weight": weight, "bias": bias}, tuple(pictures))
        return unpack_dual(out).tangent


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_derivatives_along_a_direction(form: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against torch's in float64."""
    calls, own = [], batch_norm._along
    monkeypatch.setattr(batch_norm, "_along", lambda *given: calls.append(1) or own(*given))
    got = along(form, dtype)
    assert calls, "the kernels' own"
    assert close(got.double(), along(form, torch.float64), 1e-5 if dtype == torch.float32 else 0.01)
    with pytest.raises(RuntimeError, match=r"have no graph: take them under torch.no_grad\(\)"):
        along(form, dtype, graph=True)


@pytest.mark.parametrize(
    ("x", "options"),
    [
        (images(4, 16, 4, 4, dtype=torch.float64), {}),
        (torch.randn(4, 16, 4, 4), {}),
        (images(4, 16, 4, 4), {"affine": False}),
    ],
    ids=["float64", "NCHW", "affine=False"],
)
def test_what_the_kernels_do_not_compute_is_plain(x: Tensor, options: dict[str, bool]) -> None:
    made = module(16, "relu", **options).to(x.dtype)
    theirs = nn.BatchNorm2d(16, **options).to(x.dtype)
    theirs.load_state_dict(made.state_dict())
    out = made(x.requires_grad_())
    assert not fused_is_used(out)
    assert torch.equal(out, theirs(x).relu())
    assert torch.equal(made.eval()(x), theirs.eval()(x).relu())
    assert made.num_batches_tracked == 1


def test_one_value_a_channel_is_refused_as_torch_does() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        BatchNormReLU(16)(images(1, 16, 1, 1))


def test_gradients_that_are_not_channels_last_or_not_needed() -> None:
    x, made = images(4, 16, 4, 4), module(16, "pool")
    out = made(x)
    assert fused_is_used(out)
    flat = torch.randn(4, 64)
    out.flatten(1).backward(flat)
    other = module(16, "pool")
    other(x).backward(flat.view(4, 16, 2, 2).contiguous(memory_format=torch.channels_last))
    assert torch.equal(made.weight.grad, other.weight.grad)
    with torch.no_grad():
        assert torch.equal(module(16, "pool")(x), out)


def test_without_numba_it_is_plain_and_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ImportError("no numba here")

    compiler.usable.cache_clear()
    monkeypatch.setattr(compiler, "_load", broken)
    x = images(4, 16, 4, 4).requires_grad_()
    try:
        with pytest.warns(RuntimeWarning, match="no numba here") as warned:
            outs = [module(16, "relu")(x) for _ in range(2)]
        assert len(warned) == 1
        assert not any(fused_is_used(out) for out in outs)
    finally:
        compiler.usable.cache_clear()


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [*SHAPES, (1, 64, 32, 32)], ids=str)
def test_evaluation_is_torchs_bit_for_bit(
    shape: tuple[int, ...], dtype: torch.dtype, pool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compiler.usable()
    made = module(shape[1], "pool" if pool else "relu")
    x = images(*shape, dtype=dtype) * 3
    trained(made, x, None)  # running statistics that are not round numbers
    made.eval()
    calls = []
    ready = batch_norm.ready
    monkeypatch.setattr(batch_norm, "ready", lambda: calls.append(1) or ready())
    with torch.no_grad():
        fused = made(x)
    assert calls
    assert fused.is_contiguous(memory_format=torch.channels_last)
    monkeypatch.setattr(batch_norm, "_fusible", lambda *_: False)
    with torch.no_grad():
        plain = made(x)
    assert fused.dtype == plain.dtype == dtype
    assert torch.equal(fused, plain)


def test_evaluation_keeps_nan_gradients_and_the_statistics() -> None:
    assert compiler.usable()
    made, x = module(16, "pool").eval(), images(4, 16, 4, 4)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    out = made(x.requires_grad_())
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    x = x.detach().clone(memory_format=torch.preserve_format)
    x[2, 5, 1, 3] = float("nan")
    with torch.no_grad():
        bad = made(x)
    assert bad[2, 5, 0, 1].isnan()
    assert bad.isnan().sum() == 1
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_evaluation_alone_does_not_load_the_kernels() -> None:
    script = """
import sys, torch
from labelnoise.networks.base import BatchNormReLU
with torch.no_grad():
    BatchNormReLU(16).eval()(torch.randn(4, 16, 8, 8).contiguous(memory_format=torch.channels_last))
assert "numba" not in sys.modules
"""
    process = start({}, script)
    said = process.communicate(timeout=600)[1]
    assert process.returncode == 0, said


def test_residual_networks_are_torchvisions() -> None:
    from torchvision import models

    for ours, theirs, parameters in (
        (resnet34, models.resnet34(num_classes=100), 21_328_292),
        (resnet18, models.resnet18(num_classes=100), 11_220_132),
    ):
        network = ours(100, 3, 32)
        assert sum(p.numel() for p in network.parameters()) == parameters
        theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
        state = {f"body.{name}".replace("body.fc.", "head."): value for name, value in theirs.state_dict().items()}
        network.load_state_dict(state)
        x = images(4, 3, 32, 32)  # smaller ones would leave too few pixels for the last statistics to be stable
        for mode in (True, False):
            assert close(network.train(mode)(x), theirs.train(mode)(x), 1e-3)


SCRIPT = """
import sys
import torch
from labelnoise.cpu import compiler
from labelnoise.networks import cnn
assert "numba" not in sys.modules
torch.set_num_threads(1)
assert compiler.usable()
assert torch.get_num_threads() == 1
"""


def start(environment: dict[str, str], script: str = SCRIPT) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    environment = clean | {"PYTHONPATH": str(ROOT / "src")} | environment
    return subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_that_start_together_on_an_empty_cache_of_a_read_only_install(tmp_path: Path) -> None:
    """They compile into the user's cache, which holds for the next process until a kernel's file changes."""
    install = tmp_path / "install" / "labelnoise"
    shutil.copytree(ROOT / "src" / "labelnoise", install, ignore=shutil.ignore_patterns("__pycache__"))
    folders = [install.parent, install, *(path for path in install.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        cache = tmp_path / "cache"
        environment = {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(install.parent), "PYTHONDONTWRITEBYTECODE": "1"}
        check = SCRIPT + f"\nassert compiler.__file__.startswith({str(install)!r})\n"
        lines = []
        for process in [start(environment, check) for _ in range(2)]:
            said = process.communicate(timeout=600)[1]
            assert process.returncode == 0, said
            lines += said.splitlines()
        assert 1 <= len(lines) <= 2  # one that starts late finds what the first has compiled
        assert all(line.startswith("compiling the fused CPU kernels, once per user") for line in lines)
        assert list((cache / "labelnoise" / "numba").rglob("*.nbi"))
        assert not [path for path in install.rglob("*") if path.suffix in (".nbi", ".nbc", ".pyc")]
        warm = start(environment, check)
        assert warm.communicate(timeout=600)[1] == "", "the cache holds for the next process"
        before = {path.parent for path in cache.rglob("*.nbi")}
        pixels = install / "cpu" / "pixels.py"  # which the kernels in passes.py call
        pixels.chmod(0o644)
        pixels.write_text(pixels.read_text() + "# changed\n")
        changed = start(environment, check)
        assert "compiling" in changed.communicate(timeout=600)[1], "a change in a file that kernels call is noticed"
        assert {path.parent for path in cache.rglob("*.nbi")} > before
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_an_unwritable_cache_folder_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(compiler.tempfile, "tempdir", str(tmp_path))
    folder = compiler.cache_folder()
    assert folder == compiler.cache_folder()
    assert folder.parent == tmp_path
    folder.chmod(0o777)  # now anyone could put code there
    assert compiler.cache_folder() != folder


def test_functional_gradients_are_plain() -> None:
    made, x = module(16, "relu"), images(3, 16, 4, 4)

    def energy(weight: Tensor, buffers: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(made, buffers | {"weight": weight}, x).pow(2).sum()

    got = torch.func.grad(energy)(made.weight.detach(), dict(made.named_buffers()))
    other = module(16, "relu")
    other(x).pow(2).sum().backward()
    assert close(got, other.weight.grad, 1e-5)


FORKED = """
import os
import torch
from labelnoise.networks.base import BatchNormReLU
x = torch.randn(4, 16, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
assert "Fused" in str(BatchNormReLU(16)(x).grad_fn)
child = os.fork()
if child == 0:
    assert "Fused" not in str(BatchNormReLU(16)(x).grad_fn)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_is_plain_and_warns() -> None:
    process = start({"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}, FORKED)
    said = process.communicate(timeout=600)[1]
    assert process.returncode == 0, said
    assert "start it by spawn instead" in said
