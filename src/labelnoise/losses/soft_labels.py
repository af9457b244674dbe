"""Knowledge-embedded soft labels: part of the target is spread over the classes related to the label."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_label, log_probs, needs, of_label

__all__ = ["kesl"]


@needs("superclass")
@checked
def kesl(
    logits: Tensor,
    labels: Tensor,
    lam: Annotated[float, Ge(0)],
    spread: Annotated[float, Ge(0), Le(1)],
    *,
    superclass: Tensor | None = None,
) -> Tensor:
    """CE(y) + lam CE(t_y), t_y with 1 - spread at y and spread shared by the other classes of its superclass.

    Shapes: logits (B, C), labels (B,) -> (B,), in nats.
    Args:
        superclass: (C,), int64; None: all classes are equally related, which is label smoothing. A class that is alone
            in its superclass keeps its one-hot label.
    Raises:
        ValueError: lam or spread out of range.
    Source: a reconstruction of Yuan et al. 2020 (ICPR), Knowledge Embedded Soft Labels, from its
        abstract: the paper's matrix of class correlations is not known.
    """
    logs = log_probs(logits)
    label = of_label(logs, labels)
    related = 1 - at_label(logs, labels)
    if superclass is not None:
        related = related * (superclass[labels][:, None] == superclass[None, :])
    count = related.sum(dim=1)
    others = torch.where(count > 0, (related * logs).sum(dim=1) / count.clamp(min=1), label)
    return -label - lam * ((1 - spread) * label + spread * others)
