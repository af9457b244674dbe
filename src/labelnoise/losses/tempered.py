"""The bi-tempered logistic loss: a bounded logarithm of a heavy-tailed softmax."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_least_single, log_probs, of_label

__all__ = ["bi_tempered"]

NEWTON_STEPS = 24  # from below the root of a convex function; enough for t2 = 4 and ten thousand classes in float32


def tempered_log_probs(logits: Tensor, t: float | Tensor, order: int = 1) -> Tensor:
    """log exp_t(z_k - c) with c such that the sum is 1; exp_t(x) = (1 + (1 - t) x)^(1 / (1 - t)), t > 1.

    Only the last Newton steps have a gradient. Shapes: (B, C) -> (B, C).

    Args:
        t: a number, or 0-d.
        order: 1 or 2: derivatives in logits and t up to this order are those of the exact c. Each takes a Newton step.
    Source: Amid, Warmuth, Anil, Koren 2019, arXiv:1906.03361.
    """
    z = at_least_single(logits)
    z = z - z.detach().amax(dim=1, keepdim=True)

    def log_exp(c: Tensor) -> Tensor:
        return -torch.log1p((t - 1) * (c - z)) / (t - 1)

    with torch.no_grad():
        c = torch.zeros_like(z[:, :1])
        for _ in range(NEWTON_STEPS):
            p = log_exp(c).exp()
            c = c + (p.sum(dim=1, keepdim=True) - 1) / (p**t).sum(dim=1, keepdim=True)
    for _ in range(order):
        p = log_exp(c).exp()
        c = c + (p.sum(dim=1, keepdim=True) - 1) / (p.detach() ** t).sum(dim=1, keepdim=True)
    return log_exp(c)


@checked
def bi_tempered(
    logits: Tensor, labels: Tensor, t1: Annotated[float, Ge(0), Le(1)], t2: Annotated[float, Ge(1)]
) -> Tensor:
    """Bi-tempered logistic loss, -log_t1 p_y - (1 - sum_k p_k^(2 - t1)) / (2 - t1) with p = exp_t2(z - c).

    log_t(x) = (x^(1 - t) - 1) / (1 - t). Cross-entropy at t1 = t2 = 1; bounded for t1 < 1, heavy-tailed for t2 > 1.

    Shapes: logits (B, C), labels (B,) -> (B,), >= 0.
    Raises:
        ValueError: t1 or t2 out of range.
    Source: Amid, Warmuth, Anil, Koren 2019 (NeurIPS), arXiv:1906.03361.
    Differs: the authors' code finds c with five fixed-point steps; here Newton's method runs to convergence.
    """
    logs = tempered_log_probs(logits, t2) if t2 > 1 else log_probs(logits)
    log_p = of_label(logs, labels)
    label = -torch.expm1((1 - t1) * log_p) / (1 - t1) if t1 < 1 else -log_p
    return label - (1 - ((2 - t1) * logs).exp().sum(dim=1)) / (2 - t1)
