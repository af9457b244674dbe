"""Negative learning: trains on complementary labels, "the image is not of class k"."""

import torch
from torch import Tensor

from labelnoise.losses.base import check_labels, log_complement_of_label

__all__ = ["nlnl"]


def nlnl(logits: Tensor, labels: Tensor) -> Tensor:
    """Negative learning, -log(1 - p_k) with k drawn uniformly from the classes other than y.

    k is drawn from torch's default generator of the logits' device, which a run seeds.

    Shapes: logits (B, C), labels (B,) -> (B,), in nats.
    Source: Kim, Yim, Yun, Kim 2019, arXiv:1908.07387, equation 2; the loss term only, without its three stages.
    Differs: on CIFAR, the code released with zhou2021 weights an image by the noisy count of the largest class divided
        by that of its label (up to 2.33 on CIFAR-10 with its 40% asymmetric noise, 1 for equal counts), and clamps
        1 - p_k at 1e-5, which removes the gradient below it. Here every weight is 1 and nothing is clamped.
    """
    check_labels(logits, labels)
    classes = logits.shape[1]
    k = (labels + torch.randint(1, classes, labels.shape, device=labels.device)) % classes
    return -log_complement_of_label(logits, k)
