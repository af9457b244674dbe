"""Early-learning regularisation: keeps predictions near their average over earlier epochs, before memorisation."""

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from labelnoise.arguments.ranges import NonNegative, checked
from labelnoise.data.train_set import Batch
from labelnoise.losses.base import log_probs
from labelnoise.methods.erm import ERM
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.criterion import Outputs
from labelnoise.training.method import Judgement, Setup

CLAMP = 1e-4  # of the probabilities, as in the released code


class ELR(ERM):
    """-log p_y + lam log(1 - <p, t>), with a target t for each image.

    t starts at 0. Each time an image is used, before its loss is computed: t <- beta t + (1 - beta) p, p detached. In
    t and in <p, t>, p is clamped to [1e-4, 1 - 1e-4], as in the released code; in t it is normalised again.

    Memory: (N, C) floats.

    Args:
        lam: >= 0.
        beta: 0 to below 1.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: Liu, Niles-Weed, Razavian, Fernandez-Granda 2020, arXiv:2007.00151, section 4. This is ELR, not
        ELR+, which adds a second network, weight averaging and mixup.
    """

    target: Tensor

    @checked
    def __init__(self, setup: Setup, lam: NonNegative, beta: Annotated[float, Ge(0), Lt(1)]) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=elr")
        self.lam, self.beta = lam, beta
        self.remember("target", (setup.train.num_classes,))

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        probs = log_probs(outputs.logits).exp().clamp(CLAMP, 1 - CLAMP)
        seen = probs.detach() / probs.detach().sum(dim=1, keepdim=True)
        target = self.beta * self.target[batch.index] + (1 - self.beta) * seen.to(self.target.dtype)
        self.target[batch.index] = target
        given = super().objective(outputs, batch)
        return given + self.lam * torch.log1p(-(probs * target).sum(dim=1).clamp_max(1 - CLAMP))

    def judgement(self) -> Judgement:
        return Judgement.of_target(self.target, self.train_set.labels)
