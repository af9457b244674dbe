"""The view of a tensor that the compiled kernels read: rows of pixels."""

from typing import Any

import torch
from torch import Tensor


def is_plain(x: Tensor) -> bool:
    """Whether the kernels can read it: on the CPU, channels_last, not being compiled, not under torch.func."""
    return (
        x.device.type == "cpu"
        and type(x) is Tensor
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


def as_rows(x: Tensor) -> Any:
    """A channels_last tensor's memory as an array (N * H * W, C); bfloat16 as its bits (uint16)."""
    pixels = x.detach().permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return pixels.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else pixels.numpy()


def refuse_graph() -> None:
    """A forward derivative of the kernels has no graph.

    Raises:
        RuntimeError: torch would keep one, and differentiate it wrongly.
    """
    if torch.is_grad_enabled():
        raise RuntimeError("the fused kernels' forward derivatives have no graph: take them under torch.no_grad()")
