"""The gambler's loss: one output more than classes, on which the network may bet instead of on a class."""

from math import log

import torch
from torch import Tensor

from labelnoise.losses.base import in_range, log_probs, needs, of_label

__all__ = ["gambler"]


@needs("extra_output")
def gambler(logits: Tensor, labels: Tensor, o: float) -> Tensor:
    """Gambler's loss, -log(p_y + p_abstain / o), the last output being the abstention.

    A sample is worth no more than log o + -log p_abstain, which bounds the gradient of one that cannot be fitted.

    Shapes: logits (B, C + 1), labels (B,) in 0 to C - 1 -> (B,), in nats.
    Args:
        o: > 1, the odds; at most C, above which betting on the most likely class always pays.
    Raises:
        ValueError: o out of range.
    Source: Liu, Wang, Liang, Salakhutdinov, Morency, Ueda 2019 (NeurIPS), arXiv:1907.00208. Its authors train with
        cross-entropy first where o is small, which this loss leaves to the schedule of whoever uses it.
    """
    in_range("o", o, 1, open_low=True)
    logs = log_probs(logits)
    return -torch.logaddexp(of_label(logs, labels), logs[:, -1] - log(o))
