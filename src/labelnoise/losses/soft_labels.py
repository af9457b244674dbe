"""Knowledge-embedded soft labels: part of the target is spread over the classes related to the label."""

import torch
from torch import Tensor

from labelnoise.losses.base import at_label, in_range, log_probs, needs, of_label

__all__ = ["kesl"]


@needs("superclass")
def kesl(logits: Tensor, labels: Tensor, lam: float, spread: float, *, superclass: Tensor | None = None) -> Tensor:
    """CE(y) + lam CE(t_y), t_y with 1 - spread at y and spread shared by the other classes of its superclass.

    Shapes: logits (B, C), labels (B,) -> (B,), in nats.
    Args:
        lam: >= 0. spread: in [0, 1].
        superclass: (C,), int64; None: all classes are equally related, which is label smoothing. A class that is alone
            in its superclass keeps its one-hot label.
    Raises:
        ValueError: lam or spread out of range.
    Source: a reconstruction of Yuan et al. 2020 (ICPR), Knowledge Embedded Soft Labels, from its
        abstract: the paper's matrix of class correlations is not known.
    """
    in_range("lam", lam, 0)
    in_range("spread", spread, 0, 1)
    logs = log_probs(logits)
    label = of_label(logs, labels)
    related = 1 - at_label(logs, labels)
    if superclass is not None:
        related = related * (superclass[labels][:, None] == superclass[None, :])
    count = related.sum(dim=1)
    others = torch.where(count > 0, (related * logs).sum(dim=1) / count.clamp(min=1), label)
    return -label - lam * ((1 - spread) * label + spread * others)
