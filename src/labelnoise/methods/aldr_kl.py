"""ALDR-KL: the label-distributionally robust loss with a temperature for each image."""

from math import log
from typing import Annotated

import torch
from annotated_types import Gt
from torch import Tensor

from labelnoise.arguments.ranges import NonNegative, Positive, checked
from labelnoise.data.train_set import Batch
from labelnoise.losses.base import at_label, at_least_single, of_label
from labelnoise.methods.erm import ERM
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.criterion import Outputs
from labelnoise.training.method import Setup

FLOOR = 1e-5  # added to q, as in the released code


class ALDRKL(ERM):
    """t log((1/C) sum_k exp((z_k - z_y + margin [k != y]) / t)) - (alpha log C / (2 t0)) (t - t0)^2.

    z are the logits divided by the mean of their absolute values. An image's temperature t starts at t0. Each time the
    image is used, before the loss is computed, t becomes t0 (1 - KL(q || 1/C) / (alpha log C)) with q = softmax(z / t):
    one step of the iteration whose fixed point maximises the loss over t. A confident prediction lowers t; a uniform
    one keeps t0. The loss may be negative.

    Args:
        initial: t0, > 0.
        alpha: > 1, so that t stays above 0.
        margin: >= 0.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: Zhu, Ying, Yang 2023 (ICML), arXiv:2112.14869, the adaptive loss. As in the released code, the logits are
        normalised, and q has no margin; 1e-5 is added to q before it is normalised again.
    Differs: for CIFAR-100 the released code first applies softplus to the logits.
    """

    temperature: Tensor

    @checked
    def __init__(self, setup: Setup, initial: Positive, alpha: Annotated[float, Gt(1)], margin: NonNegative) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=aldr_kl")
        self.initial, self.alpha, self.margin = initial, alpha, margin
        self.remember("temperature", start=initial)

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        z = at_least_single(outputs.logits)
        z = z / z.abs().mean(dim=1, keepdim=True).clamp_min(torch.finfo(z.dtype).tiny)
        temperature = self.moved(z.detach(), self.temperature[batch.index])
        self.temperature[batch.index] = temperature.to(self.temperature.dtype)
        scale = self.alpha * log(z.shape[1])
        margins = z - of_label(z, batch.labels)[:, None] + self.margin * (1 - at_label(z, batch.labels))
        worst = (margins / temperature[:, None]).logsumexp(dim=1) - log(z.shape[1])
        return temperature * worst - scale / (2 * self.initial) * (temperature - self.initial).square()

    def moved(self, logits: Tensor, temperature: Tensor) -> Tensor:
        """The next temperature of each image. Shapes: (B, C), normalised, (B,) -> (B,)."""
        q = (logits / temperature[:, None]).softmax(dim=1) + FLOOR
        q = q / q.sum(dim=1, keepdim=True)
        divergence = (q * q.log()).sum(dim=1) + log(q.shape[1])
        return self.initial * (1 - divergence / (self.alpha * log(q.shape[1])))
