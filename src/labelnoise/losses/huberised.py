"""Partially Huberised cross-entropy: linear in p_y below 1/tau, which bounds loss and gradient."""

from math import log
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_prob_of_label

__all__ = ["phuber_ce"]


@checked
def phuber_ce(logits: Tensor, labels: Tensor, tau: Annotated[float, Gt(1)]) -> Tensor:
    """Partially Huberised cross-entropy, -log p_y where p_y > 1/tau, log tau + 1 - tau p_y elsewhere.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, log tau + 1].
    Args:
        tau: the largest slope.
    Raises:
        ValueError: tau out of range.
    Source: Menon, Rawat, Reddi, Kumar 2020 (ICLR), Can Gradient Clipping Mitigate Label Noise?
    """
    log_p = log_prob_of_label(logits, labels)
    return torch.where(log_p > -log(tau), -log_p, log(tau) + 1 - tau * log_p.exp())
