"""P-DIFF: keeps an image if its label's probability difference is high compared with those of recent batches."""

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor

from labelnoise.arguments.ranges import Fraction, checked
from labelnoise.losses.base import log_probs, margin
from labelnoise.methods.co_teaching import noise_rate
from labelnoise.methods.erm import ERM
from labelnoise.training.method import Feed, Judgement, Setup, StepResult

BINS, LOWEST, WIDTH = 220, -1.1, 0.01  # as released
BATCHES = 100  # in the histogram, as released


def bins_of(difference: Tensor) -> Tensor:
    """The histogram's bin of each probability difference. Shapes: (B,) -> (B,), int64."""
    return ((difference - LOWEST) / WIDTH).long().clamp(0, BINS - 1)


class PDiff(ERM):
    """Selects images by d = p_y - max over k != y of p_k, from -1 to 1. An image is kept if the bin of d is at least
    the first one at which the cumulative histogram of the last 100 batches exceeds R; else its loss is 0.

    Known noise rate: R = rate min(1, T / T_k), with epochs T from 0. Unknown: R is the share of d up to the bin of
    -1 + min(1, T / T_k), updated while T <= T_k or the mean of |d|, which grows as the network becomes confident, is
    below `saturation`. Before the 100th step all images are kept.

    Args:
        rate: share of wrong labels, 0 to below 1; None: the true one.
        unknown: do not use the rate; take R from the histogram.
        ramp: T_k as a fraction of the run, 0 to 1; 20 of 200 epochs in the paper.
        saturation: zeta, above 0 and at most 1.
    Raises:
        ValueError: a hyper-parameter out of range; or neither a rate nor unknown, and the true rate is not known.
    Source: Hu, Zhao, Huang, Zhang 2020 (ICPR), arXiv:2009.06382, section 3, and its released code.
    Differs: the released code counts T in 390 steps, one less than its epoch of CIFAR-10 has, so that T grows a step
        before the epoch does.
    """

    provides = ERM.provides - {"extra_output"}
    assumes = frozenset({"transition"})

    counts: Tensor
    taken: Tensor
    drop: Tensor
    grows: Tensor
    edge: Tensor
    difference: Tensor

    @checked
    def __init__(
        self,
        setup: Setup,
        rate: Annotated[float, Ge(0), Lt(1)] | None,
        unknown: bool,
        ramp: Fraction,
        saturation: Annotated[float, Gt(0), Le(1)],
    ) -> None:
        super().__init__(setup)
        if unknown and rate is not None:
            raise ValueError(f"method.rate={rate}: must be null if method.unknown=true")
        if rate is None:
            rate = 0.0 if unknown else noise_rate(setup, "method.rate")
        self.rate = rate
        self.unknown, self.ramp, self.saturation = unknown, ramp, saturation
        # a ring buffer with the histogram of each recent batch, and the number of batches so far
        self.register_buffer("counts", torch.zeros(BATCHES, BINS))
        self.register_buffer("taken", torch.zeros((), dtype=torch.long))
        # R; whether T <= T_k; the last bin in which R counts images if the rate is unknown
        self.register_buffer("drop", torch.zeros(()))
        self.register_buffer("grows", torch.ones((), dtype=torch.bool))
        self.register_buffer("edge", torch.zeros((), dtype=torch.long))
        self.remember("difference")  # each image's last d

    def begin_epoch(self) -> None:
        """Update what depends on the epoch."""
        epoch, full = self.clock.epoch, self.clock.length(self.ramp)
        share = min(1.0, epoch / full) if full else 1.0
        self.grows.fill_(epoch <= full)
        self.edge.copy_(bins_of(torch.tensor(share - 1)))
        if not self.unknown:
            self.drop.fill_(self.rate * share)

    def train_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        outputs = self.criterion.outputs(self.learner, batch)
        probs = log_probs(outputs.logits.detach()).exp()
        difference = margin(probs, batch.labels)
        self.difference[batch.index] = difference.to(self.difference.dtype)
        kept = self.kept(bins_of(difference))
        losses = self.objective(outputs, batch)
        loss = self.criterion.mean(torch.where(kept, losses, 0.0), outputs, batch)
        self.learner.update(loss)
        metrics = {"dropped": 1 - kept.float().mean()}
        return StepResult(loss.detach(), batch.index, probs.argmax(dim=1), kept, metrics=metrics)

    def kept(self, bins: Tensor) -> Tensor:
        """Add a batch to the histogram and return which images to keep. Shapes: (B,) -> (B,) bool."""
        row = self.counts.new_zeros(1, BINS).index_add_(1, bins, self.counts.new_ones(1, len(bins)))
        self.counts.index_copy_(0, (self.taken % BATCHES)[None], row)
        self.taken += 1
        total = self.counts.sum(dim=0)
        share = total / total.sum()
        cumulative = share.cumsum(dim=0)
        if self.unknown:
            middles = LOWEST + WIDTH * (torch.arange(BINS, device=bins.device) + 0.5)
            moves = self.grows | ((middles.abs() * share).sum() < self.saturation)
            self.drop.copy_(torch.where(moves, cumulative[self.edge], self.drop))
        threshold = (cumulative <= self.drop).sum()
        return (bins >= threshold) | (self.taken < BATCHES)

    def judgement(self) -> Judgement:
        """The probability difference when each image was last used."""
        return Judgement(self.difference)
