"""Learning to reweight examples: images are weighted by how much they reduce the loss on a few trusted images."""

import torch
from torch import Tensor

from labelnoise.data.train_set import Batch
from labelnoise.meta_learning.looking_ahead import LookingAhead
from labelnoise.training.method import Feed, Judgement, Setup, StepResult


class L2RW(LookingAhead):
    """Weights from the gradient of the trusted images' loss after a virtual step of plain SGD.

    w_i = max(0, -d L_trusted(theta - lr * grad sum_j eps_j l_j) / d eps_i) at eps = 0, divided by their sum. If all are
    0, the batch gives no gradient. Running statistics of batch normalisation do not see the trusted images.

    Raises:
        ValueError: there are no trusted images.
    Source: Ren, Zeng, Yang, Urtasun 2018, arXiv:1803.09050, algorithm 1.
    Differs: the virtual step reuses the outputs of the training pass, in the network's precision, so one pass gives
        both an image's weight and its update.
    """

    weight: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup, "l2rw")
        # the sum of each image's weights over the epochs, relative to the batch's mean weight
        self.remember("weight")

    def train_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        logits = self.learner(batch.images)
        losses = self.loss(logits, batch.labels)
        weights = self.weights(feed, batch, logits, torch.zeros_like(losses))
        total = (weights * losses).sum()
        self.learner.update(total)
        self.weight[batch.index] += len(weights) * weights
        return StepResult(total.detach(), batch.index, logits.detach().argmax(dim=1), weights > 0)

    def weights(self, feed: Feed, batch: Batch, logits: Tensor, epsilon: Tensor) -> Tensor:
        """The weights of a batch's images (B,): non-negative, with sum 1, or 0 if no image helps.

        Args:
            logits: (B, C), in training, with their graph.
            epsilon: (B,), zeros, the weights of the virtual step.
        """
        loss = lambda z, given: (given * self.loss(z, batch.labels)).sum()  # noqa: E731
        slope, _ = self.slope(feed, batch.images, logits, epsilon, loss)
        helpful = (-slope).clamp_min(0)
        total = helpful.sum()
        return helpful / torch.where(total > 0, total, 1.0)

    def judgement(self) -> Judgement:
        """The sum of each image's weights so far."""
        return Judgement(self.weight)
