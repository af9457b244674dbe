"""Cross-entropy."""

from torch import Tensor

from labelnoise.losses.base import log_prob_of_label

__all__ = ["ce"]


def ce(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy, -log p_y.

    Shapes: logits (B, C), labels (B,) -> (B,), in nats.
    """
    return -log_prob_of_label(logits, labels)
