"""CORES2: a confidence regulariser, and a sieve that drops images whose label fits worse than a random label."""

from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from labelnoise.arguments.ranges import Fraction, NonNegative, checked
from labelnoise.losses.base import log_probs, of_label
from labelnoise.methods.erm import ERM
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.method import Feed, Judgement, Setup, StepResult


class CORES2(ERM):
    """-log p_y + beta sum_k P(k) log(p_k + floor), with P the frequencies of the given labels.

    beta is 0 for the fraction `plain` of the run, then grows linearly over `ramp` and stays constant. The floor ends
    the regulariser's pull where a label is improbable; without it the objective has no lower bound. From the fraction
    `sieve` on, only images are kept whose regularised loss is at most the mean of that loss over all labels. The
    regulariser does not depend on the label, so the condition is

        -log p_y <= -(1/C) sum_k log(p_k + floor).

    The loss is averaged over the kept images; a batch of which none is kept gives no gradient. P counts the images that
    the last epoch kept.

    Args:
        beta: >= 0.
        floor: > 0, below 1; 1e-8 in the released code.
        plain, ramp, sieve: fractions of the run, 0 to 1, each at least one epoch unless it is 0.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: Cheng, Zhu, Li, Gong, Sun, Liu 2021, arXiv:2010.02347, sections 2 and 3, and the first phase of the released
        code: there the sieve uses the outputs of the current step, P follows the kept images, and the learning rate is
        divided by 1 + beta. Here the loss is divided by 1 + beta, which is the same for SGD without momentum and decay.
    Differs: the second phase, which uses the dropped images without labels, is not implemented.
    """

    weight: Tensor
    prior: Tensor
    kept: Tensor
    margin: Tensor

    @checked
    def __init__(
        self,
        setup: Setup,
        beta: NonNegative,
        plain: Fraction,
        ramp: Fraction,
        sieve: Fraction,
        floor: Annotated[float, Gt(0), Lt(1)],
    ) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=cores2")
        self.beta, self.plain, self.ramp, self.sieve, self.floor = beta, plain, ramp, sieve, floor
        labels, classes = setup.train.labels, setup.train.num_classes
        # of each class, the images that the last epoch kept; before the first, all
        everything = torch.ones(len(labels), device=labels.device)
        self.register_buffer("kept", torch.zeros(classes, device=labels.device).index_add_(0, labels, everything))
        self.register_buffer("prior", self.kept / len(labels))
        self.register_buffer("weight", torch.zeros(()))
        self.remember("margin")  # each image's log p_y - (1/C) sum_k log(p_k + floor) when it was last used

    def begin_epoch(self) -> None:
        """Set beta, and P to the frequencies of the labels that the last epoch kept; if it kept none, P stays."""
        total = self.kept.sum()
        self.prior.copy_(torch.where(total > 0, self.kept / total.clamp_min(1), self.prior))
        self.kept.zero_()
        self.weight.fill_(self.beta * self.clock.ramp(self.clock.epoch - self.clock.length(self.plain), self.ramp))

    def feeds(self) -> list[Feed]:
        """Every image once; the step's number is 1 if the sieve is active."""
        return self.every_image("train", self.clock.stage(self.sieve))

    def train_step(self, feed: Feed, sieve: int = 0) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        outputs = self.criterion.outputs(self.learner, batch)
        logs = log_probs(outputs.logits)
        given = -of_label(logs, batch.labels)
        losses = -(logs.exp() + self.floor).log()
        margin = (losses.mean(dim=1) - given).detach()
        self.margin[batch.index] = margin.to(self.margin.dtype)
        kept = margin >= 0 if sieve else torch.ones_like(margin, dtype=torch.bool)
        self.kept.index_add_(0, batch.labels, kept.to(self.kept.dtype))
        values = (given - self.weight * (self.prior * losses).sum(dim=1)) / (1 + self.weight)
        ones = kept.to(values.dtype)
        shares = ones * (len(kept) / ones.sum().clamp_min(1))  # makes the batch mean the mean over the kept images
        loss = self.criterion.mean(values * shares, outputs, batch)
        self.learner.update(loss)
        return StepResult(loss.detach(), batch.index, outputs.logits.detach().argmax(dim=1), kept)

    def judgement(self) -> Judgement:
        """The sieve's margin when each image was last used; the sieve drops images with a margin below 0."""
        return Judgement(self.margin)
