"""Sparse regularisation for any loss: normalised logits, sharpened outputs, and a growing penalty on their l_p norm."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import NonNegative, Positive, checked
from labelnoise.data.train_set import Batch
from labelnoise.losses.base import at_least_single
from labelnoise.methods.erm import ERM
from labelnoise.training.criterion import Outputs
from labelnoise.training.method import Setup

FLOOR = 1e-7  # lower clamp of the probabilities in the penalty


class SR(ERM):
    """loss(z', y) + lam_t sum_k p_k^power, with z' = z / (|z|_2 temperature) and p its softmax.

    lam_t = lam growth^floor(epoch / every). Normalised logits bound the outputs: with 10 classes and temperature 0.5 no
    probability exceeds 0.48. z and z' predict the same class.

    Args:
        temperature: > 0.
        power: the penalty's p, > 0.
        lam: >= 0.
        growth: > 0.
        every: epochs, >= 1. Not a fraction of the run, because the paper gives it in epochs.
        normalize: false: do not divide by the norm, as in the paper on MNIST.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Zhou, Liu, Wang, Zhai, Jiang, Ji 2021 (ICCV), arXiv:2108.00192, algorithm 1. In the
        penalty p is at least 1e-7, as in the released code.
    """

    provides = frozenset({"logits", "labels", "batch"})

    weight: Tensor

    @checked
    def __init__(
        self,
        setup: Setup,
        temperature: Positive,
        power: Positive,
        lam: NonNegative,
        growth: Positive,
        every: Annotated[int, Ge(1)],
        normalize: bool,
    ) -> None:
        super().__init__(setup)
        self.temperature, self.power, self.normalize = temperature, power, normalize
        self.lam, self.growth, self.every = lam, growth, every
        self.register_buffer("weight", torch.tensor(float(lam)))

    def begin_epoch(self) -> None:
        """Increase the penalty's weight."""
        self.weight.fill_(self.lam * self.growth ** (self.clock.epoch // self.every))

    def sharpened(self, logits: Tensor) -> Tensor:
        """z'. Shapes: (B, C) -> (B, C)."""
        logits = at_least_single(logits)
        return (F.normalize(logits, dim=1) if self.normalize else logits) / self.temperature

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        logits = self.sharpened(outputs.logits)
        penalty = logits.softmax(dim=1).clamp_min(FLOOR).pow(self.power).sum(dim=1)
        return super().objective(outputs._replace(logits=logits), batch) + self.weight * penalty
