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
    Differs: the code released with zhou2021 multiplies an image's loss on CIFAR by the largest class's noisy count over
        that of its own label (up to 2.33 on CIFAR-10 with that code's 40% asymmetric noise, 1 for equal counts) and
        clamps 1 - p_k at 1e-5, which cuts the gradient below it. Here every image has weight 1, nothing is clamped.
    """
    check_labels(logits, labels)
    classes = logits.shape[1]
    k = (labels + torch.randint(1, classes, labels.shape, device=labels.device)) % classes
    return -log_complement_of_label(logits, k)
