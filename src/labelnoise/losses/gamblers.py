"""The gambler's loss: an extra output lets the network abstain."""

from math import log
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_probs, needs, of_label

__all__ = ["gambler"]


@needs("extra_output")
@checked
def gambler(logits: Tensor, labels: Tensor, o: Annotated[float, Gt(1)]) -> Tensor:
    """Gambler's loss, -log(p_y + p_abstain / o); the last output is the abstention.

    The loss of an image is at most log o - log p_abstain, which bounds the gradient of images that cannot be fitted.

    Shapes: logits (B, C + 1), labels (B,) in 0 to C - 1 -> (B,), in nats.
    Args:
        o: the odds; should be at most C, as above C it never pays to abstain.
    Raises:
        ValueError: o out of range.
    Source: Liu, Wang, Liang, Salakhutdinov, Morency, Ueda 2019 (NeurIPS), arXiv:1907.00208.
    Differs: for small o the authors first train with cross-entropy; this loss does not.
    """
    logs = log_probs(logits)
    return -torch.logaddexp(of_label(logs, labels), logs[:, -1] - log(o))
