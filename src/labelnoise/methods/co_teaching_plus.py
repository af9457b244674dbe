"""Co-teaching+: co-teaching among the images on which the two networks disagree, so that they stay different."""

from torch import Tensor

from labelnoise.methods.co_teaching import CoTeaching, smallest
from labelnoise.training.method import Feed, Setup


class CoTeachingPlus(CoTeaching):
    """Co-teaching first; then only images count whose predicted class differs between the networks.

    Of the images of a batch that the networks predict differently, each passes the R(t) share with the smallest losses
    to the other, at least one. Where the networks agree on a whole batch it gives no gradient.

    Args:
        forget_rate, gradual: as co-teaching's.
        warm_up: fraction of the run that is plain co-teaching; 20 of 200 epochs in the released CIFAR-10 code.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Yu et al. 2019, arXiv:1901.04215, algorithm 1 and equation 1.
    Differs: the released code passes probabilities where its cross-entropy expects logits, and falls back to all images
        of a batch without disagreement in early steps; here neither.
    """

    def __init__(self, setup: Setup, forget_rate: float | None, gradual: float, warm_up: float) -> None:
        super().__init__(setup, forget_rate, gradual)
        if not 0 <= warm_up <= 1:
            raise ValueError(f"method.warm_up={warm_up}: must be a number from 0 to 1")
        self.warm_up = warm_up

    def feeds(self) -> list[Feed]:
        """Co-teaching's; after the warm-up the kind says that disagreement counts."""
        feeds = super().feeds()
        if self.clock.stage(self.warm_up) == 0:
            return feeds
        return [Feed(("disagree", *feed.kind[1:]), feed.index) for feed in feeds]

    def choose(self, feed: Feed, logits: list[Tensor], losses: list[Tensor]) -> list[Tensor]:
        if feed.kind[0] != "disagree":
            return super().choose(feed, logits, losses)
        first, second = (one.detach().argmax(dim=1) for one in logits)
        differ = first != second
        share = int(feed.kind[1]) / len(differ)
        count = (share * differ.sum()).round().clamp_min(1)
        return [differ & smallest(values.detach().masked_fill(~differ, float("inf")), count) for values in losses]
