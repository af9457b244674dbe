"""Negative learning: the image is not of a class that was drawn."""

import torch
from torch import Tensor

from labelnoise.losses.base import check_labels, log_complement_of_label

__all__ = ["nlnl"]


def nlnl(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative learning, -log(1 - p_k) with k drawn uniformly from the classes other than y.

    k comes from torch's default generator of the logits' device, which a run seeds.

    Shapes: logits (B, C), labels (B,) -> (B,), in nats.
    Source: Kim, Yim, Yun, Kim 2019, arXiv:1908.07387, equation 2; the loss term alone, without its three stages.
    """
    check_labels(logits, labels)
    classes = logits.shape[1]
    k = (labels + torch.randint(1, classes, labels.shape, device=labels.device)) % classes
    return -log_complement_of_label(logits, k)
