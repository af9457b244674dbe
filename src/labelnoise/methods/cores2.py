"""CORES2: a confidence regulariser, and a sieve that drops images whose label fits worse than a random label."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_probs, of_label
from labelnoise.methods.erm import ERM
from labelnoise.methods.own_loss import only_ce
from labelnoise.training.method import Audit, Feed, Setup, StepResult


class CORES2(ERM):
    """l(p, y) - beta sum_k P(k) l(p, k), with l cross-entropy and P the class frequencies of the given labels.

    beta is 0 for the fraction `plain` of the run, then grows linearly over `ramp` and stays constant. After both, the
    sieve keeps an image if its regularised loss is below the mean of that loss over all labels. The regulariser does
    not depend on the label, so the condition is

        l(p, y) < (1/C) sum_k l(p, k).

    The loss is averaged over the kept images.

    Args:
        beta: >= 0.
        plain, ramp: fractions of the run, 0 to 1; each lasts at least one epoch.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: Cheng, Zhu, Li, Gong, Sun, Liu 2021, arXiv:2010.02347, sections 2 and 3.
    Differs: the sieve uses the outputs of the current step, as the released code does, not the network of the last
        epoch. The paper's second phase, which uses the dropped images without labels, is not implemented.
    """

    weight: Tensor
    prior: Tensor
    margin: Tensor

    @checked
    def __init__(
        self,
        setup: Setup,
        beta: Annotated[float, Ge(0)],
        plain: Annotated[float, Ge(0), Le(1)],
        ramp: Annotated[float, Ge(0), Le(1)],
    ) -> None:
        super().__init__(setup)
        only_ce(setup, "method=cores2")
        self.beta, self.plain, self.ramp = beta, plain, ramp
        labels, classes = setup.train.labels, setup.train.num_classes
        counts = torch.zeros(classes, device=labels.device).index_add_(
            0, labels, torch.ones(len(labels)).to(labels.device)
        )
        self.register_buffer("prior", counts / len(labels))
        self.register_buffer("weight", torch.zeros(()))
        # each image's (1/C) sum_k l(p, k) - l(p, y) when it was last used
        self.register_buffer("margin", torch.zeros(len(labels)))

    def begin_epoch(self) -> None:
        """Set beta."""
        since = self.clock.epoch + 1 - self.clock.length(self.plain)
        self.weight.fill_(self.beta * min(max(since / self.clock.length(self.ramp), 0.0), 1.0))

    def feeds(self) -> list[Feed]:
        """Every image once; `kind` selects whether the sieve is active."""
        kind = "sieve" if self.clock.stage(self.plain, self.ramp) == 2 else "all"
        return [Feed((kind,), feed.index) for feed in super().feeds()]

    def step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        outputs = self.criterion.outputs(self.learner, batch)
        losses = -log_probs(outputs.logits)
        given = of_label(losses, batch.labels)
        margin = (losses.mean(dim=1) - given).detach()
        self.margin[batch.index] = margin.to(self.margin.dtype)
        kept = margin > 0 if feed.kind[0] == "sieve" else torch.ones_like(margin, dtype=torch.bool)
        values = given - self.weight * (self.prior * losses).sum(dim=1)
        shares = kept * (len(kept) / kept.sum().clamp_min(1))  # makes the batch mean the mean over the kept images
        loss = self.criterion.mean(values * shares, outputs, batch)
        self.learner.update(loss)
        return StepResult(loss.detach(), batch.index, outputs.logits.detach().argmax(dim=1), kept)

    def audit(self) -> Audit:
        """The sieve's margin when each image was last used; the sieve keeps images with a margin above 0."""
        return Audit(self.margin)
