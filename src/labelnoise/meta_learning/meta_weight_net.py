"""Meta-Weight-Net: a small network, learned by looking ahead to a few trusted images, weighs images by their loss."""

from functools import partial
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from labelnoise.arguments.ranges import NonNegative, Positive, checked
from labelnoise.data.train_set import Batch
from labelnoise.meta_learning.looking_ahead import LookingAhead
from labelnoise.training.learner import Learner
from labelnoise.training.method import Feed, Judgement, Setup, StepResult
from labelnoise.training.schedules import constant


class MetaWeightNet(LookingAhead):
    """An image's weight is a learned function of its loss, v = sigmoid(net(l)); a batch's loss is the mean of v l.

    In each step the weights of a batch's images are looked ahead: a virtual step of plain SGD on the mean of v l, at
    the network's learning rate, and the trusted images' loss after it. The weighting network takes a step of Adam on
    that loss, and the network its step with the new weights. The trusted images leave no trace in running statistics.

    Args:
        hidden: units of the weighting network, which has one hidden layer.
        rate, decay: its learning rate and weight decay.
    Raises:
        ValueError: a hyper-parameter out of range, or there are no trusted images.
    Source: Shu, Xie, Yi, Zhao, Zhou, Xu, Meng 2019, arXiv:1902.07379, algorithm 1; as the released MW-Net.py. The other
        released program divides the weights by their sum and has SGD for the weighting network.
    Differs: one forward pass gives the look ahead and the update, as the released two passes give the same logits.
    """

    weight: Tensor

    @checked
    def __init__(self, setup: Setup, hidden: Annotated[int, Ge(1)], rate: Positive, decay: NonNegative) -> None:
        super().__init__(setup, "meta_weight_net")
        layer = partial(nn.Linear, device=setup.train.labels.device)
        net = nn.Sequential(layer(1, hidden), nn.ReLU(), layer(hidden, 1), nn.Sigmoid())
        adam = lambda weights: torch.optim.Adam(weights, lr=rate, weight_decay=decay)  # noqa: E731
        self.weighting = Learner(net, adam, constant, range(self.clock.epochs), None, torch.float32)
        self.remember("weight", start=1.0)  # each image's weight when it was last seen

    def train_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        logits = self.learner(batch.images)
        losses = self.loss(logits, batch.labels)
        known = losses.detach()[:, None]
        weights = self.weighting(known).squeeze(1)
        slope, trusted_loss = self.look_ahead(feed, batch, logits, weights)
        self.weighting.update((slope * weights).sum())  # whose gradient is that of the trusted images' loss
        with torch.no_grad():
            weights = self.weighting(known).squeeze(1)
        loss = (weights * losses).mean()
        self.learner.update(loss)
        self.weight[batch.index] = weights
        metrics = {"trusted_loss": trusted_loss, "mean_weight": weights.mean()}
        selected = weights > weights.mean()
        return StepResult(loss.detach(), batch.index, logits.detach().argmax(dim=1), selected, metrics=metrics)

    def look_ahead(self, feed: Feed, batch: Batch, logits: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """How the trusted images' loss after a virtual step changes with each image's weight, and that loss.

        Shapes: (B, C), (B,) -> (B,), 0-d.
        """
        loss = lambda z, given: (given * self.loss(z, batch.labels)).mean()  # noqa: E731
        return self.slope(feed, batch.images, logits, weights, loss)

    def judgement(self) -> Judgement:
        """Each image's weight when it was last seen."""
        return Judgement(self.weight)
