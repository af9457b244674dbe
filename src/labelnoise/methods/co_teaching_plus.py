"""Co-teaching+: co-teaching on the images on which the two networks disagree, which keeps the networks different."""

import torch
from torch import Tensor

from labelnoise.arguments.ranges import Fraction, checked
from labelnoise.methods.co_teaching import CoTeaching, ForgetRate, smallest
from labelnoise.training.method import Feed, Setup


class CoTeachingPlus(CoTeaching):
    """Co-teaching, restricted after a warm-up to images whose predicted class differs between the networks.

    Of d such images in a batch, each network selects the floor(R(t) d) with the smallest losses for the other, or all d
    if that is none. A batch on which the networks agree completely gives no gradient.

    Args:
        forget_rate, ramp: as in `CoTeaching`.
        warm_up: fraction of the run that is plain co-teaching; 20 of 200 epochs in the released CIFAR-10 code.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Yu et al. 2019, arXiv:1901.04215, algorithm 1 and equation 1.
    Differs: the released code passes probabilities to a cross-entropy that expects logits, and in early steps it uses
        all images of a batch without disagreement. Neither is done here.
    """

    share: Tensor

    @checked
    def __init__(self, setup: Setup, forget_rate: ForgetRate, ramp: Fraction, warm_up: Fraction) -> None:
        super().__init__(setup, forget_rate, ramp)
        self.warm_up = warm_up
        self.register_buffer("share", torch.ones((), dtype=torch.float64))  # R(t)

    def begin_epoch(self) -> None:
        """Update what depends on the epoch."""
        self.share.fill_(self.remembered())

    def feeds(self) -> list[Feed]:
        """As in `CoTeaching`; after the warm-up the step's count is 0, and the disagreement decides."""
        return super().feeds() if self.clock.stage(self.warm_up) == 0 else self.every_image("train", 0)

    def choose(self, count: int, logits: list[Tensor], losses: list[Tensor]) -> list[Tensor]:
        if count:
            return super().choose(count, logits, losses)
        first, second = (one.detach().argmax(dim=1) for one in logits)
        differ = first != second
        total = differ.sum()
        kept = (self.share * total).floor()
        kept = torch.where(kept > 0, kept, total)
        return [differ & smallest(values.detach().masked_fill(~differ, float("inf")), kept) for values in losses]
