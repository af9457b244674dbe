"""EnsLoss: each batch draws a new convex, decreasing function of the margin, specified only by its derivatives.

Source: Dai 2025 (ICML), EnsLoss: Stochastic Calibrated Loss Ensembles for Preventing Overfitting in Classification.
The paper covers two classes; `ens_loss_mc` is this project's extension, for which calibration is not proven.
"""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_least_single, needs, of_label

__all__ = ["ens_loss", "ens_loss_mc"]


def _derivatives(margins: Tensor, lam: float, generator: torch.Generator) -> Tensor:
    """The derivatives of a drawn loss: negative, and more so at smaller margins. Shapes: margins (B,) -> (B,)."""
    drawn = torch.randn(margins.shape, generator=generator, device=margins.device)
    box_cox = drawn.exp() if lam == 0 else (1 + lam * drawn).clamp(min=0) ** (1 / lam)
    sizes = (-box_cox).clamp(min=-1).sort().values.to(margins.dtype)
    sorted_as_margins = torch.zeros_like(margins).scatter_(0, margins.argsort(), sizes)
    return sorted_as_margins / margins.clamp(min=1) - 1e-6  # a tail that falls faster than linearly


@needs("generator", "batch")
@checked
def ens_loss_mc(
    logits: Tensor, labels: Tensor, lam: Annotated[float, Ge(-1), Le(1)] = 0.0, *, generator: torch.Generator
) -> Tensor:
    """EnsLoss for any number of classes, g m with m = z_y - log sum_{k != y} exp z_k and g a drawn derivative at m.

    g = -BoxCoxInverse_lam(N(0, 1)), clamped at -1 from below, sorted like the margins, divided by m where m > 1, and
    detached. Only the gradient is meaningful; the value does not measure the fit. For two classes it equals `ens_loss`.

    Shapes: logits (B, C), labels (B,) -> (B,), of either sign.
    Args:
        lam: the parameter of the Box-Cox transform; 0 is exp.
        generator: on the device of the logits.
    Raises:
        ValueError: lam out of range.
    Source: an extension of Dai 2025 (ICML).
    """
    z = at_least_single(logits)
    label = of_label(z, labels)
    margins = label - z.scatter(1, labels[:, None], float("-inf")).logsumexp(dim=1)
    return _derivatives(margins.detach(), lam, generator) * margins


@needs("generator", "batch", "binary")
@checked
def ens_loss(
    logits: Tensor, labels: Tensor, lam: Annotated[float, Ge(-1), Le(1)] = 0.0, *, generator: torch.Generator
) -> Tensor:
    """EnsLoss as published, for two classes: g m with m = z_y - z_{1-y} and g a drawn derivative at m.

    Shapes: logits (B, 2), labels (B,) -> (B,), of either sign.
    Args:
        lam, generator: as in `ens_loss_mc`.
    Raises:
        ValueError: lam out of range, or not two classes.
    Source: Dai 2025 (ICML), and the code released with it.
    """
    if logits.shape[1:] != (2,):
        raise ValueError(f"logits {tuple(logits.shape)}: ens_loss is for two classes; ens_loss_mc takes more")
    return ens_loss_mc(logits, labels, lam, generator=generator)
