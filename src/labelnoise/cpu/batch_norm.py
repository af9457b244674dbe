"""Batch normalisation and ReLU, with a residual sum or 2x2 max-pooling: fused on the CPU, plain torch elsewhere.

The operation is memory-bound, so the fused form makes as few passes as possible. Forward: one pass for the sums, one
that normalises, clips, pools and writes. Backward: one pass for the sums, one for the gradient. Only the convolution's
output is kept, the one large tensor; the backward passes recompute the ReLU's sign and each window's maximum from it.
"""

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from labelnoise.cpu import compiler
from labelnoise.cpu.rows import as_rows, is_plain, refuse_graph


class Form(NamedTuple):
    """The variant to compute. Attributes: pool, whether with 2x2 max-pooling; eps, added to the variance."""

    pool: bool
    eps: float


def batch_norm_relu(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: float,
    eps: float,
    residual: Tensor | None = None,
    pool: bool = False,
) -> Tensor:
    """max_pool2d(relu(batch_norm(x) + residual), 2) in training mode; residual and pooling are optional.

    Shapes: x, residual (N, C, H, W); the rest (C,) -> (N, C, H, W), or (N, C, H // 2, W // 2) with `pool`.
    Args:
        running_mean, running_var: updated in place, by `momentum`; the variance is the unbiased one, as in torch.
    Raises:
        ValueError: there is only one value per channel, which has no variance.
    Source: Ioffe, Szegedy 2015, arXiv:1502.03167, algorithm 1; the gradient is derived from it.
    """
    form = Form(pool, eps)
    if _fusible(x, weight, running_mean, residual, pool) and compiler.usable():
        return _Fused.apply(x, weight, bias, residual, running_mean, running_var, momentum, form)
    return _plain(x, weight, bias, residual, form, running_mean, running_var, momentum)


def batch_norm_relu_evaluated(
    x: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, eps: float, pool: bool = False
) -> Tensor:
    """max_pool2d(relu(batch_norm(x)), 2) with the running statistics, in one pass. Equals torch's result bit for bit.

    The kernels are used only if training has already loaded them and no gradient is needed.

    Shapes: as in `batch_norm_relu`.
    """
    usable = not torch.is_grad_enabled() and _fusible(x, weight, running_mean, None, pool)
    if not (usable and compiler.in_use()):
        y = F.relu(F.batch_norm(x, running_mean, running_var, weight, bias, False, 0.0, eps))
        return F.max_pool2d(y, 2) if pool else y
    passes = ready()
    table = torch.zeros(7, x.shape[1])  # torch computes x * scale + shift, so the kernel's mean is 0
    torch.mul(torch.rsqrt(running_var + eps), weight, out=table[passes.SCALE])
    torch.addcmul(bias, running_mean, table[passes.SCALE], value=-1, out=table[passes.SHIFT])
    return _written(passes, x, as_rows(x), None, table.numpy(), pool)


def _plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    form: Form,
    mean: Tensor | None = None,
    var: Tensor | None = None,
    momentum: float = 0.0,
) -> Tensor:
    y = F.batch_norm(x, mean, var, weight, bias, True, momentum, form.eps)
    y = F.relu(y if residual is None else y + residual)
    return F.max_pool2d(y, 2) if form.pool else y


def _fusible(x: Tensor, weight: Tensor, running_mean: Tensor, residual: Tensor | None, pool: bool) -> bool:
    """Whether the kernels support this: plain CPU tensors, bfloat16 or float32, channels_last, more than one pixel."""
    N, C, H, W = x.shape
    like_x = residual is None or (
        not pool and residual.shape == x.shape and residual.dtype == x.dtype and is_plain(residual)
    )
    return (
        like_x
        and is_plain(x)
        and x.dtype in (torch.bfloat16, torch.float32)
        and weight.dtype == running_mean.dtype == torch.float32
        and N * H * W > 1
        and C > 0
        and (not pool or min(H, W) > 1)
    )


def ready() -> ModuleType:
    """The kernels, which `compiler.usable` has imported, set to torch's number of threads."""
    from labelnoise.cpu import passes

    compiler.use_torch_threads()
    return passes


def _written(passes: ModuleType, x: Tensor, rows: Any, residual: Tensor | None, table: Any, pool: bool) -> Tensor:
    """The output, which the last pass writes with the coefficients in `table`."""
    N, C, H, W = x.shape
    shape = (N, C, H // 2, W // 2) if pool else x.shape
    out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    if pool:
        passes.forward_pool(rows, table, H, W, as_rows(out))
    elif residual is None:
        passes.forward(rows, table, as_rows(out))
    else:
        passes.forward_residual(rows, as_rows(residual), table, as_rows(out))
    return out


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        residual: Tensor | None,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        form: Form,
    ) -> Tensor:
        passes = ready()
        C, rows = x.shape[1], as_rows(x)
        table = torch.empty(7, C, dtype=torch.float32).numpy()
        parts = torch.empty(passes.PARTS, 2, C, dtype=torch.float64).numpy()
        affine = [v.detach().contiguous().numpy() for v in (weight, bias)]
        running = running_mean.numpy(), running_var.numpy()
        passes.input_sums(rows, parts)
        passes.statistics(parts, rows[0], len(rows), *affine, form.eps, momentum, *running, table)
        out = _written(passes, x, rows, residual, table, form.pool)
        ctx.save_for_backward(x, weight, bias, residual, None if residual is None else out)
        ctx.save_for_forward(x, residual)
        ctx.table, ctx.form = table, form
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, residual, out = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph: these gradients will themselves be differentiated
            return *_differentiable(ctx, grad, x, weight, bias, residual), None, None, None, None
        grad = grad.contiguous(memory_format=torch.channels_last)
        return *_fused_backward(x, grad, out, ctx.table, ctx.form), None, None, None, None

    @staticmethod
    def jvp(ctx: Any, dx: Tensor, dweight: Tensor, dbias: Tensor, dresidual: Tensor | None, *_: None) -> Tensor:
        refuse_graph()
        x, residual = ctx.saved_tensors
        return _along(x, residual, ctx.table, ctx.form, dx, dweight, dbias, dresidual)


def _fused_backward(
    x: Tensor, grad: Tensor, out: Tensor | None, table: Any, form: Form
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Gradients of x, weight, bias and residual."""
    passes = ready()
    C, H, W = x.shape[1:]
    rows, grad_rows = as_rows(x), as_rows(grad)
    dx, dweight, dbias = torch.empty_like(x, memory_format=torch.channels_last), *torch.empty(2, C, dtype=torch.float32)
    parts = torch.empty(passes.PARTS, 2, C, dtype=torch.float64).numpy()
    behind = None
    if form.pool:
        passes.grad_sums_pool(rows, grad_rows, table, H, W, parts)
    elif out is None:
        passes.grad_sums(rows, grad_rows, table, parts)
    else:
        behind = torch.empty_like(x, memory_format=torch.channels_last)
        passes.grad_sums_residual(rows, grad_rows, as_rows(out), table, as_rows(behind), parts)
    passes.coefficients(parts, len(rows), table, dweight.numpy(), dbias.numpy())
    if form.pool:
        passes.backward_pool(rows, grad_rows, table, H, W, as_rows(dx))
    elif behind is None:
        passes.backward(rows, grad_rows, table, as_rows(dx))
    else:
        passes.backward_residual(rows, as_rows(behind), table, as_rows(dx))
    return dx, dweight, dbias, behind


def _differentiable(
    ctx: Any, grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None
) -> list[Tensor | None]:
    """The same gradients by plain torch, with a graph, so that they can be differentiated again."""
    inputs = (x, weight, bias, residual)
    wanted = [
        tensor for tensor, needed in zip(inputs, ctx.needs_input_grad, strict=False) if needed and tensor is not None
    ]
    grads = iter(torch.autograd.grad(_plain(x, weight, bias, residual, ctx.form), wanted, grad, create_graph=True))
    return [next(grads) if needed else None for needed in ctx.needs_input_grad[:4]]


def _along(
    x: Tensor,
    residual: Tensor | None,
    table: Any,
    form: Form,
    dx: Tensor,
    dweight: Tensor,
    dbias: Tensor,
    dresidual: Tensor | None,
) -> Tensor:
    """How the output changes along a direction of x, weight, bias and residual."""
    passes, derivatives = ready(), _derivatives()
    N, C, H, W = x.shape
    rows, change = as_rows(x), as_rows(dx)
    parts, table = torch.empty(passes.PARTS, 2, C, dtype=torch.float64), torch.from_numpy(table.copy())
    shift = table[passes.SHIFT].clone()
    table[passes.SHIFT] = torch.inf  # sums over all pixels: none is behind the ReLU
    passes.grad_sums(rows, change, table.numpy(), parts.numpy())
    table[passes.SHIFT] = shift
    total, product = parts.sum(dim=0).float() / len(rows)
    scale, invstd = table[passes.SCALE], table[passes.INVSTD]
    table[passes.BY_GRAD] = scale
    table[passes.BY_INPUT] = invstd * (dweight - scale * invstd * product)
    table[passes.CONSTANT] = dbias - scale * total
    shape = (N, C, H // 2, W // 2) if form.pool else x.shape
    out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    if form.pool:
        derivatives.change_pool(rows, change, table.numpy(), H, W, as_rows(out))
    elif residual is not None and dresidual is not None:
        derivatives.change_residual(rows, change, as_rows(residual), as_rows(dresidual), table.numpy(), as_rows(out))
    else:
        derivatives.change(rows, change, table.numpy(), as_rows(out))
    return out


def _derivatives() -> ModuleType:
    """`derivatives`, which `compiler.usable` has imported."""
    from labelnoise.cpu import derivatives

    return derivatives
