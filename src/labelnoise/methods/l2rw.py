"""Learning to reweight examples: images are weighted by how much they reduce the loss on a few trusted images."""

import torch
from torch import Tensor

from labelnoise.methods.looking_ahead import LookingAhead
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
        index = feed.index["train"]
        batch, trusted = self.train_set.batch(index), self.trusted.batch(feed.index["trusted"])
        logits = self.learner(batch.images)
        losses = self.loss(logits, batch.labels)
        weights = self.weights(losses, trusted.images, trusted.labels)
        total = (weights * losses).sum()
        self.learner.update(total)
        self.weight[index] += len(index) * weights
        return StepResult(total.detach(), index, logits.detach().argmax(dim=1), weights > 0)

    def weights(self, losses: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The weights of a batch's images (B,): non-negative, with sum 1, or 0 if no image helps.

        Args:
            losses: (B,), with their autograd graph.
            images, labels: (M, channels, H, W), (M,), trusted.
        """
        epsilon = torch.zeros_like(losses, requires_grad=True)
        ahead = self.learner.lookahead((epsilon * losses).sum())
        trusted_loss = self.loss(self.learner(images, ahead), labels).mean()
        (gradient,) = torch.autograd.grad(trusted_loss, epsilon, retain_graph=True)
        helpful = (-gradient).clamp_min(0)
        total = helpful.sum()
        return helpful / torch.where(total > 0, total, 1.0)

    def judgement(self) -> Judgement:
        """The sum of each image's weights so far."""
        return Judgement(self.weight)
