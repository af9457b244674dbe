"""Joint optimisation: a network's mean predictions replace the labels as it trains; a new one then trains on them."""

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise.arguments.ranges import NonNegative, PositiveFraction, checked
from labelnoise.losses.base import log_probs
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.learner import Learners
from labelnoise.training.method import Feed, Judgement, Method, Setup, StepResult
from labelnoise.training.schedules import constant


def prior_divergence(logs: Tensor) -> Tensor:
    """KL(uniform || mean prediction of the batch): prevents all images from collapsing into one class.

    Shapes: log-probabilities (B, C) -> 0-d, in nats.
    Source: Tanaka et al. 2018, equation 8, with a uniform prior.
    """
    count, classes = logs.shape
    mean = logs.logsumexp(dim=0) - log(count)
    return -mean.mean() - log(classes)


def entropy(logs: Tensor) -> Tensor:
    """The mean entropy of the predictions: sharpens each one. Shapes: (B, C) -> 0-d, in nats."""
    return -(logs.exp() * logs).sum(dim=1).mean()


class Refinery(Method):
    """Training in two stages. In the first, with a constant learning rate, the loss is

        -sum_k s_k log p_k + alpha KL(uniform || mean p) + beta H(p).

    From `begin` on, every epoch sets the target s of each image to the mean of its predictions in the last `averaged`
    epochs. These predictions come from the training passes, on augmented images. In the second stage a new network
    trains on the targets with cross-entropy only, and the configured schedule starts from its beginning.

    Memory: (epochs averaged, N, C) floats; 20 MB for CIFAR-10, 200 MB for CIFAR-100 over 10 epochs.

    Args:
        alpha, beta: >= 0.
        begin, first: when targets are first replaced and when the first stage ends, as fractions of the run; 70 and 200
            of 320 epochs in the released code. Each stage lasts at least one epoch, and the second always starts from
            replaced targets.
        averaged: fraction of the run; 10 of 320 epochs in the paper.
        soft: true: the target is the mean prediction; false: its largest class.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: Tanaka, Ikami, Yamasaki, Aizawa 2018, arXiv:1803.11364, equations 4 to 9 and algorithm 1.
    """

    target: Tensor
    past: Tensor

    @checked
    def __init__(
        self,
        setup: Setup,
        alpha: NonNegative,
        beta: NonNegative,
        begin: PositiveFraction,
        first: PositiveFraction,
        averaged: PositiveFraction,
        soft: bool,
    ) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=refinery")
        if begin > first:
            raise ValueError(f"method.begin={begin}: must not be above method.first={first}")
        self.alpha, self.beta, self.soft = alpha, beta, soft
        self.stages = self.clock.stages(first)
        self.end = self.stages[1].start
        self.begin = min(self.clock.length(begin), self.end)
        self.both = Learners([setup.make_learner(schedule=constant), setup.make_learner(during=self.stages[1])])
        count, classes = len(setup.train), setup.train.num_classes
        self.remember("target", (classes,), F.one_hot(setup.train.labels, classes))
        # a ring buffer with the predictions of the last epochs
        self.register_buffer("past", torch.zeros(self.clock.length(averaged), count, classes))

    @property
    def network(self) -> nn.Module:
        return self.both[self.stage].network

    def begin_epoch(self) -> None:
        """Replace the targets."""
        epoch = self.clock.epoch
        if self.begin <= epoch <= self.end:
            mean = self.past[: min(epoch, len(self.past))].mean(dim=0)
            self.target.copy_(mean if self.soft else F.one_hot(mean.argmax(dim=1), mean.shape[1]))

    def feeds(self) -> list[Feed]:
        """Every image once; the step has the stage, and where the first stage stores its predictions."""
        return self.every_image("train", self.stage, 0 if self.stage else self.clock.epoch % len(self.past))

    def train_step(self, feed: Feed, stage: int, place: int) -> StepResult:
        index = feed.index["train"]
        target = self.target[index]
        logs = log_probs(self.both[stage](self.train_set.view(index)))
        loss = -(target * logs).sum(dim=1).mean()
        if stage == 0:
            loss = loss + self.alpha * prior_divergence(logs) + self.beta * entropy(logs)
            self.past[place, index] = logs.detach().exp().to(self.past.dtype)
        self.both[stage].update(loss)
        return StepResult(loss.detach(), index, logs.detach().argmax(dim=1), target=target.argmax(dim=1))

    def predict(self, images: Tensor) -> Tensor:
        return self.both[self.stage](images)

    def judgement(self) -> Judgement:
        return Judgement.of_target(self.target, self.train_set.labels)
