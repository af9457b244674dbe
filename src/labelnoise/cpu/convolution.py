"""3x3 convolutions: in float32 on a CPU by Winograd's method where that is faster, otherwise torch's.

In float32 a convolution is limited by the processor's vector units. Winograd's F(4x4, 3x3) needs 36 multiplications
where the direct sum needs 144, and its error is a few roundings of float32; cuDNN uses it for float32 too. It is not
used for bfloat16, whose 8 bits of precision would make the transforms' error several times bfloat16's own.
"""

import functools
import math
import platform
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from labelnoise.cpu import compiler
from labelnoise.cpu.rows import as_rows, is_plain, refuse_graph

FEWEST, MOST = 32, 640  # channels: with fewer the transforms cost more than they save; more do not fit in a plane
SMALLEST = 8  # pixels a side: on smaller maps the transformed weights are larger than the data they multiply
NUMBERS = 8192  # of a plane in one chunk, so that they stay in the cache between transform and product
TILES = 64  # minimum in one chunk: with fewer, reading the weights takes longer than multiplying


def convolve3x3(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """conv2d(x, weight, bias, stride=1, padding=1).

    Shapes: x (N, C, H, W), weight (K, C, 3, 3), bias (K,) or None -> (N, K, H, W).
    Source: Lavin, Gray 2016, arXiv:1509.09308; the gradient of the weights is the adjoint of the forward pass.
    """
    if _faster(x, weight) and compiler.usable():
        return _Winograd.apply(x, weight, bias)
    return F.conv2d(x, weight, bias, padding=1)


def _faster(x: Tensor, weight: Tensor) -> bool:
    """Whether Winograd's method applies and is faster, by shape, precision and processor."""
    K, C = weight.shape[:2]
    H, W = x.shape[2:]
    return (
        is_plain(x)
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and FEWEST <= min(C, K) <= max(C, K) <= MOST
        and min(H, W) >= SMALLEST
        and H % 4 == W % 4 == 0
        and len(x) * (H // 4) * (W // 4) % 2 == 0  # the tiles divide into halves
        and len(x) > 0
        and _is_x86()
    )


@functools.cache
def _is_x86() -> bool:
    """Whether this is an x86 processor: Winograd's method was measured only there."""
    return platform.machine().lower() in ("x86_64", "amd64")


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.save_for_forward(x, weight)
        return _convolved(x, _nine(weight), bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: these gradients will themselves be differentiated
            return _differentiable(ctx, grad, x, weight, bias)
        grad = grad.contiguous(memory_format=torch.channels_last)
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        turned = _nine(weight).flip(0).transpose(1, 2)  # the kernel of the convolution that maps grad to x's gradient
        return (
            _convolved(grad, turned, None) if wants_x else None,
            _weight_gradient(x, grad) if wants_weight else None,
            grad.sum(dim=(0, 2, 3)) if wants_bias else None,
        )

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, dweight: Tensor, dbias: Tensor | None) -> Tensor:
        refuse_graph()
        x, weight = ctx.saved_tensors
        return F.conv2d(dx, weight, dbias, padding=1) + F.conv2d(x, dweight, padding=1)


def _parts() -> int:
    return 1 if torch.get_num_threads() == 1 else 2


@functools.cache
def _taps(parts: int) -> Tensor:
    """(parts * 36, 9): the Kronecker product G x G for each part. It transforms the nine weights of a kernel.

    The row of a point p in G is (1, p, p^2) over the product of p - q over the other points q.
    """
    points = [0.0, *(sign * point for point in _winograd().POINTS for sign in (1, -1))]
    rows = [[p**k / math.prod(p - q for q in points if q != p) for k in range(3)] for p in points]
    G = torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)
    return torch.kron(G, G).float().repeat(parts, 1)


def _nine(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) -> (9, K, C), a view where the weights are channels_last."""
    return weight.detach().permute(2, 3, 0, 1).flatten(0, 1)


def _convolved(x: Tensor, nine: Tensor, bias: Tensor | None) -> Tensor:
    """Shapes: x (N, C, H, W), nine (9, K, C), bias (K,) or None -> (N, K, H, W)."""
    winograd = ready()
    N, C, H, W = x.shape
    K, parts = nine.shape[1], _parts()
    out = torch.empty((N, K, H, W), memory_format=torch.channels_last)
    weights = (_taps(parts) @ nine.reshape(9, K * C)).view(-1, K, C).transpose(1, 2)
    added = (torch.zeros(K) if bias is None else bias.detach()).numpy()
    inputs = torch.empty(parts * 36 * winograd.PLANE)
    x_rows, planes, out_rows = as_rows(x), inputs.numpy(), as_rows(out)
    for first, count in chunks(x, max(C, K), parts):
        winograd.input_tiles(x_rows, H, W, parts, first, count, planes)
        outputs = torch.bmm(as_planes(inputs, parts, count, C), weights)
        winograd.output_tiles(outputs.view(parts, 36, count, K).numpy(), H, W, first, added, out_rows)
    return out


def _weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """Shapes: x (N, C, H, W), grad (N, K, H, W) -> (K, C, 3, 3)."""
    winograd = ready()
    C, H, W = x.shape[1:]
    K, parts = grad.shape[1], _parts()
    total = torch.zeros(parts * 36, K, C)
    inputs, grads = torch.empty(2, parts * 36 * winograd.PLANE)
    x_rows, planes, grad_rows, grad_planes = as_rows(x), inputs.numpy(), as_rows(grad), grads.numpy()
    for first, count in chunks(x, max(C, K), parts):
        winograd.input_tiles(x_rows, H, W, parts, first, count, planes)
        winograd.gradient_tiles(grad_rows, H, W, parts, first, count, grad_planes)
        torch.baddbmm(
            total, as_planes(grads, parts, count, K).transpose(1, 2), as_planes(inputs, parts, count, C), out=total
        )
    nine = _taps(parts).T @ total.view(-1, K * C)
    return nine.view(3, 3, K, C).permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)


def chunks(x: Tensor, channels: int, parts: int) -> list[tuple[int, int]]:
    """(first tile, number of tiles) of each chunk within a part."""
    N, _, H, W = x.shape
    total, most = N * (H // 4) * (W // 4) // parts, max(NUMBERS // channels, TILES)
    return [(first, min(most, total - first)) for first in range(0, total, most)]


def as_planes(numbers: Tensor, parts: int, count: int, channels: int) -> Tensor:
    """The kernels' flat planes as a tensor (parts * 36, count, channels)."""
    return numbers.as_strided((parts * 36, count, channels), (_winograd().PLANE, channels, 1))


def ready() -> ModuleType:
    """The kernels, set to torch's number of threads."""
    compiler.use_torch_threads()
    return _winograd()


def _winograd() -> ModuleType:
    """`winograd`, which `compiler.usable` has imported."""
    from labelnoise.cpu import winograd

    return winograd


def _differentiable(
    ctx: Any, grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor | None, ...]:
    """The same gradients by torch's convolution, with a graph, so that they can be differentiated again."""
    inputs = (x, weight, bias)
    wanted = [v for v, needed in zip(inputs, ctx.needs_input_grad, strict=True) if needed and v is not None]
    out = F.conv2d(x, weight, bias, padding=1)
    grads = iter(torch.autograd.grad(out, wanted, grad, create_graph=True))
    return tuple(next(grads) if needed else None for needed in ctx.needs_input_grad)
