"""Winograd's convolution against torch's: values, gradients, training, and where torch's must be used."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.forward_ad import dual_level, make_dual, unpack_dual
from torch.nn import functional as F

from labelnoise.cpu import compiler, convolution, convolve3x3
from labelnoise.networks.base import Conv3x3
from labelnoise.networks.cnn import cnn8
from labelnoise.networks.resnet import resnet18

FORMAT = torch.channels_last
SHAPES = [  # images, channels, width, height and breadth of the map
    (3, 32, 64, 8, 8),
    (1, 33, 47, 8, 16),
    (2, 81, 64, 12, 8),
    (5, 145, 80, 8, 12),
    (2, 196, 100, 8, 8),
    (9, 64, 64, 32, 32),
    (1, 32, 640, 8, 8),
]

pytestmark = pytest.mark.usefixtures("one_thread")


def tensors(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, weights, bias and a gradient of the output."""
    N, C, K, H, W = shape
    generator = torch.Generator().manual_seed(0)
    draw = lambda *size: torch.randn(size, generator=generator).to(dtype)  # noqa: E731
    x, weight = draw(N, C, H, W) + 0.5, draw(K, C, 3, 3) / (3 * C**0.5)
    return *(v.contiguous(memory_format=FORMAT) for v in (x, weight)), draw(K), draw(N, K, H, W)


def results(convolve: Any, *inputs: Tensor, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Output and gradients of images, weights and bias."""
    x, weight, bias, grad = (v.detach().to(dtype) for v in inputs)
    out = convolve(x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_())
    return [out.detach(), *torch.autograd.grad(out, (x, weight, bias), grad)]


def plain(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x, weight, bias, padding=1)


def is_winograd(out: Tensor) -> bool:
    return type(out.grad_fn).__name__ == "_WinogradBackward"


def error(got: Tensor, wanted: Tensor) -> float:
    return float(((got - wanted).double().abs().max() / wanted.abs().max()).detach())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_equal_the_exact_ones(shape: tuple[int, ...], threads: int) -> None:
    torch.set_num_threads(threads)
    inputs = tensors(shape)
    assert is_winograd(convolve3x3(inputs[0].requires_grad_(), *inputs[1:3]))
    exact = results(plain, *inputs, dtype=torch.float64)
    for got, wanted in zip(results(convolve3x3, *inputs), exact, strict=True):
        assert got.dtype == torch.float32
        assert got.shape == wanted.shape
        assert error(got, wanted) < 6e-6  # measured 2e-6; torch's own float32 1e-6


def test_gradients_that_are_not_needed_are_not_computed() -> None:
    x, weight, _, grad = tensors(SHAPES[0])
    weight.requires_grad_()
    convolve3x3(x, weight, None).backward(grad)
    assert weight.grad is not None
    assert weight.grad.is_contiguous(memory_format=FORMAT)
    assert x.grad is None


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("shape", SHAPES[:5], ids=str)
def test_transforms_do_not_depend_on_the_threads(shape: tuple[int, ...], parts: int) -> None:
    def transformed(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        x, _, bias, grad = tensors(shape)
        assert compiler.usable()
        kernels, (N, _, K, H, W) = convolution.ready(), shape
        grad, count = grad.contiguous(memory_format=FORMAT), N * (H // 4) * (W // 4) // parts
        planes = torch.zeros(2, parts * 36 * kernels.PLANE)
        kernels.input_tiles(convolution.as_rows(x), H, W, parts, 0, count, planes[0].numpy())
        kernels.gradient_tiles(convolution.as_rows(grad), H, W, parts, 0, count, planes[1].numpy())
        tiles = convolution.as_planes(planes[1], parts, count, K).reshape(parts, 36, count, K)
        out = torch.empty_like(grad, memory_format=FORMAT)
        kernels.output_tiles(tiles.numpy(), H, W, 0, bias.numpy(), convolution.as_rows(out))
        return [planes, out]

    assert all(torch.equal(one, two) for one, two in zip(transformed(1), transformed(2), strict=True))


def test_repeats_bit_for_bit() -> None:
    inputs = tensors(SHAPES[5])
    first, second = results(convolve3x3, *inputs), results(convolve3x3, *inputs)
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_second_derivatives_equal_the_exact_ones() -> None:
    def gradient_norm(convolve: Any, dtype: torch.dtype) -> list[Tensor]:
        x, weight, bias, grad = (v.to(dtype) for v in tensors(SHAPES[0]))
        wanted = (x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_())
        grads = torch.autograd.grad(convolve(*wanted), wanted, grad, create_graph=True)
        return list(torch.autograd.grad(sum((g**2).sum() for g in grads), wanted[:2]))

    for got, exact in zip(gradient_norm(convolve3x3, torch.float32), gradient_norm(plain, torch.float64), strict=True):
        assert error(got, exact) < 2e-5


def test_derivatives_along_a_direction_equal_the_exact_ones() -> None:
    def along(convolve: Any, dtype: torch.dtype) -> Tensor:
        x, weight, bias, _ = (v.to(dtype) for v in tensors(SHAPES[0]))
        with torch.no_grad(), dual_level():
            return unpack_dual(convolve(*(make_dual(v, v.cos()) for v in (x, weight, bias)))).tangent

    assert error(along(convolve3x3, torch.float32), along(plain, torch.float64)) < 1e-5


def test_what_is_not_finite_stays_so() -> None:
    for value in (float("nan"), float("inf")):
        x, weight, bias, _ = tensors(SHAPES[0])
        x[1, 5, 3, 3] = value
        out = convolve3x3(x.requires_grad_(), weight, bias)
        assert is_winograd(out)
        assert not out[1, :, 3, 3].isfinite().any()
        assert out[0].isfinite().all()


FEW = (2, convolution.FEWEST - 1, 64, 8, 8)
MANY = (1, 32, convolution.MOST + 1, 8, 8)


@pytest.mark.parametrize(
    "shape", [FEW, MANY, (2, 64, 64, 4, 8), (2, 64, 64, 8, 10), (3, 64, 64, 12, 12), (0, 64, 64, 8, 8)], ids=str
)
def test_other_shapes_are_torchs(shape: tuple[int, ...]) -> None:
    x, weight, bias, _ = tensors(shape)
    out = convolve3x3(x.requires_grad_(), weight, bias)
    assert not is_winograd(out)
    assert torch.equal(out, plain(x, weight, bias))


def test_a_plane_holds_the_most_tiles_of_the_most_channels() -> None:
    kernels = convolution.ready()
    for channels in range(convolution.FEWEST, convolution.MOST + 1):
        _, most = max(convolution.chunks(torch.empty(999, 1, 8, 8), channels, 1), key=lambda chunk: chunk[1])
        assert most * channels <= kernels.PLANE


def test_other_precisions_layouts_and_functions_are_torchs() -> None:
    x, weight, bias, _ = tensors(SHAPES[0])
    x.requires_grad_()
    narrow = [v.bfloat16() for v in (x, weight, bias)]
    assert not is_winograd(convolve3x3(*narrow))
    assert not is_winograd(convolve3x3(x.double(), weight.double(), bias.double()))
    assert not is_winograd(convolve3x3(x.contiguous(), weight, bias))
    with torch.autocast("cpu", torch.bfloat16):
        out = convolve3x3(x, weight, bias)
    assert out.dtype == torch.bfloat16
    assert not is_winograd(out)
    loss = lambda w: convolve3x3(x.detach(), w, bias).sum()  # noqa: E731
    wanted = torch.autograd.grad(plain(x.detach(), weight.requires_grad_(), bias).sum(), weight)[0]
    assert error(torch.func.grad(loss)(weight.detach()), wanted) < 1e-5


def test_without_numba_it_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "usable", lambda: False)
    x, weight, bias, _ = tensors(SHAPES[0])
    assert torch.equal(convolve3x3(x, weight, bias), plain(x, weight, bias))


def test_off_x86_it_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "_is_x86", lambda: False)
    x, weight, bias, _ = tensors(SHAPES[0])
    assert not is_winograd(convolve3x3(x.requires_grad_(), weight, bias))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_the_module_is_torchs_convolution(stride: int, bias: bool) -> None:
    torch.manual_seed(0)
    ours = Conv3x3(32, 40, stride, bias)
    torch.manual_seed(0)
    theirs = nn.Conv2d(32, 40, 3, stride, padding=1, bias=bias)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    x = tensors(SHAPES[0])[0]
    assert error(ours(x), theirs(x)) < 2e-5


def smooth(classes: int, channels: int, size: int) -> nn.Module:
    """A network without ReLU and pooling, in which a rounding error cannot cause a jump."""
    layers = [nn.Conv2d(channels, 32, 3, padding=1), nn.Tanh(), Conv3x3(32, 40), nn.Tanh(), Conv3x3(40, 64), nn.Tanh()]
    return nn.Sequential(*layers, nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64 * (size // 8) ** 2, classes))


@pytest.mark.parametrize(("network", "steps"), [(smooth, 20), (cnn8, 5), (resnet18, 2)])
def test_training_stays_with_torchs(network: Any, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained() -> tuple[Tensor, list[float]]:
        """The first gradients and the losses."""
        torch.manual_seed(0)
        made = network(10, 3, 32).to(memory_format=FORMAT)
        images = torch.randn(16, 3, 32, 32).contiguous(memory_format=FORMAT)
        labels = torch.randint(0, 10, (16,))
        optimizer = torch.optim.SGD(made.parameters(), lr=0.01, momentum=0.9)
        gradients, losses = [], []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(made(images), labels)
            loss.backward()
            gradients.append(torch.cat([weight.grad.flatten() for weight in made.parameters()]))
            optimizer.step()
            losses.append(float(loss.detach()))
        return gradients[0], losses

    gradients, losses = trained()
    monkeypatch.setattr(convolution, "_faster", lambda *_: False)
    plain_gradients, plain_losses = trained()
    assert not torch.equal(gradients, plain_gradients), "both were torch's"
    if network is smooth:
        assert (gradients - plain_gradients).norm() <= 1e-4 * plain_gradients.norm()
    assert all(abs(a - b) <= 1e-3 * b for a, b in zip(losses, plain_losses, strict=True))
