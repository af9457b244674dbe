"""Cross-entropy of logits whose norm is clipped, which bounds the loss."""

from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor
from torch.linalg import vector_norm

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_least_single, log_prob_of_label

__all__ = ["ce_logitclip"]


@checked
def ce_logitclip(logits: Tensor, labels: Tensor, delta: Annotated[float, Gt(0)], released: bool = False) -> Tensor:
    """Cross-entropy of z delta / ||z||_2 where ||z||_2 > delta, and of z elsewhere.

    Shapes: logits (B, C), labels (B,) -> (B,), in nats, at most log(1 + (C - 1) exp(sqrt(2) delta)).
    Args:
        delta: the largest norm.
        released: rescale to norm delta where ||z||_2 > 1 / delta, as the released code and wang2024's do. For delta 1
            it is the same; delta > 1 also enlarges norms in (1 / delta, delta); delta < 1 keeps norms up to 1 / delta.
    Raises:
        ValueError: delta out of range.
    Source: Wei, Zhuang, Xie, Feng, Niu, An, Li 2023 (ICML), arXiv:2212.04055.
    """
    z = at_least_single(logits)
    norm = vector_norm(z, dim=1, keepdim=True)
    threshold = 1 / delta if released else delta
    # The clamp keeps the branch that `where` discards finite, and so the gradient.
    clipped = torch.where(norm > threshold, z * (delta / norm.clamp(min=threshold)), z)
    return -log_prob_of_label(clipped, labels)
