"""Co-teaching: two networks, each trained on the images on which the other has the smallest losses."""

import torch
from torch import Tensor, nn

from labelnoise.training.method import Audit, Feed, Method, Setup, StepResult


class CoTeaching(Method):
    """Of each batch, each network passes its small-loss images to the other, which takes its step on them.

    The share that is dropped grows linearly from 0 to `forget_rate` over the first `gradual` of the run's epochs and
    stays there: R(t) = 1 - min(t / T_k, 1) * forget_rate. Predictions are the first network's, as each network is
    reported by itself in the paper.

    Args:
        forget_rate: share of each batch that is dropped in the end, 0 to below 1; the paper takes the noise rate.
        gradual: T_k as a fraction of the run; 10 of 200 epochs in the paper.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Han et al. 2018, arXiv:1804.06872, algorithm 1.
    """

    chosen: Tensor

    def __init__(self, setup: Setup, forget_rate: float, gradual: float) -> None:
        super().__init__(setup)
        if not 0 <= forget_rate < 1:
            raise ValueError(f"method.forget_rate={forget_rate}: must be a number from 0 to below 1")
        if not 0 <= gradual <= 1:
            raise ValueError(f"method.gradual={gradual}: must be a number from 0 to 1")
        self.forget_rate, self.gradual = forget_rate, gradual
        self.learners_of = nn.ModuleList([setup.make_learner(), setup.make_learner()])
        # how often each image was chosen by either network since the share stopped growing
        self.register_buffer("chosen", torch.zeros(len(setup.train)))

    def remembered(self) -> float:
        """R(t), the share of each batch that is kept in the epoch under way."""
        return 1 - min((self.clock.epoch + 1) / self.clock.length(self.gradual), 1.0) * self.forget_rate

    def feeds(self) -> list[Feed]:
        """Every image once; the kind says how many images of the batch are kept."""
        share = self.remembered()
        parts = self.train_set.order(self.clock.batch_size)
        return [Feed(("train", max(1, round(share * len(index)))), {"train": index}) for index in parts]

    def step(self, feed: Feed) -> StepResult:
        index, keep = feed.index["train"], int(feed.kind[1])
        batch = self.train_set.batch(index)
        logits = [learner(batch.images) for learner in self.learners_of]
        losses = [self.loss(one, batch.labels) for one in logits]
        small = [values.detach().topk(keep, largest=False).indices for values in losses]
        # each learns from the other's choice
        totals = [losses[k][small[1 - k]].mean() for k in (0, 1)]
        for learner, total in zip(self.learners_of, totals, strict=True):
            learner.update(total)  # type: ignore[operator]
        selected = torch.zeros_like(index, dtype=torch.bool).index_fill_(0, small[1], True)
        for mine in small:
            self.chosen[index[mine]] += 1
        return StepResult(totals[0].detach(), index, logits[0].detach().argmax(dim=1), selected)

    def predict(self, images: Tensor) -> Tensor:
        return self.learners_of[0](images)

    def audit(self) -> Audit:
        """How often the two networks chose each image, as a share of all epochs so far."""
        return Audit(self.chosen / (2 * max(self.clock.epoch, 1)))
