"""Learning to reweight examples: each image of a batch weighs as much as it helps on a few trusted ones."""

import itertools

import torch
from torch import Tensor

from labelnoise.training.method import Audit, Feed, Method, Setup, StepResult


class L2RW(Method):
    """Weights from the gradient of the trusted images' loss after a virtual step of plain SGD.

    w_i = max(0, -d L_trusted(theta - lr * grad sum_j eps_j l_j) / d eps_i) at eps = 0, divided by their sum; a batch in
    which no image helps is not learnt from.

    Raises:
        ValueError: there are no trusted images.
    Source: Ren, Zeng, Yang, Urtasun 2018, arXiv:1803.09050, algorithm 1.
    Differs: the virtual step starts from the training pass's own outputs, in the networks' precision, so that an image
        is passed through the network once for both its weight and its update.
    """

    weight: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        if setup.train.trusted is None:
            raise ValueError("num_trusted=0: method=l2rw needs images with true labels, such as num_trusted=100")
        self.trusted = setup.train.trusted
        self.learner = setup.make_learner()
        # the mean of each image's weights over the epochs, in parts of a batch's mean weight
        self.register_buffer("weight", torch.zeros(len(setup.train)))

    def feeds(self) -> list[Feed]:
        """Every image once, beside as many trusted ones, in turn."""
        size = self.clock.batch_size
        trusted = itertools.cycle(self.trusted.order(size))
        return [Feed(("reweight",), {"train": i, "trusted": next(trusted)}) for i in self.train_set.order(size)]

    def step(self, feed: Feed) -> StepResult:
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
        """The weight of each image of a batch (B,), not negative, summing to 1, or to 0 where none helps.

        Args:
            losses: (B,), with the graph that they came by.
            images, labels: (M, channels, H, W), (M,), trusted.
        """
        epsilon = torch.zeros_like(losses, requires_grad=True)
        ahead = self.learner.lookahead((epsilon * losses).sum())
        trusted_loss = self.loss(self.learner(images, ahead), labels).mean()
        (gradient,) = torch.autograd.grad(trusted_loss, epsilon, retain_graph=True)
        helpful = (-gradient).clamp_min(0)
        total = helpful.sum()
        return helpful / torch.where(total > 0, total, 1.0)

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)

    def audit(self) -> Audit:
        """The sum of each image's weights so far."""
        return Audit(self.weight)
