"""Joint optimisation: a network's mean predictions replace the labels while it trains; then a new one learns these."""

from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise.losses.base import log_probs
from labelnoise.methods.own_loss import only_ce
from labelnoise.training.learner import Learner
from labelnoise.training.method import Audit, Feed, Method, Setup, StepResult
from labelnoise.training.schedules import constant


def soft_cross_entropy(logs: Tensor, target: Tensor) -> Tensor:
    """-sum_k s_k log p_k, the mean of it. Shapes: (B, C), (B, C) -> 0-d, in nats."""
    return -(target * logs).sum(dim=1).mean()


def prior_divergence(logs: Tensor) -> Tensor:
    """KL of the uniform distribution from the batch's mean prediction: keeps all images from one class.

    Shapes: log-probabilities (B, C) -> 0-d, in nats.
    Source: Tanaka et al. 2018, equation 8, with a uniform prior.
    """
    count, classes = logs.shape
    mean = logs.logsumexp(dim=0) - log(count)
    return -mean.mean() - log(classes)


def entropy(logs: Tensor) -> Tensor:
    """The mean entropy of the predictions: draws each towards one class. Shapes: (B, C) -> 0-d, in nats."""
    return -(logs.exp() * logs).sum(dim=1).mean()


class Refinery(Method):
    """Two stages. In the first, at the optimizer's full rate throughout, the loss is

        -sum_k s_k log p_k + alpha KL(uniform || mean p) + beta H(p),

    and from `begin` on the targets s of every image are, anew in each epoch, the mean of its predictions in the last
    `averaged` epochs, as they came in training, on augmented images. In the second a new network is trained on these
    targets, by cross-entropy alone, with the configured schedule from its start.

    Memory: (epochs averaged, N, C) floats; 20 MB for CIFAR-10, 200 MB for CIFAR-100 over 10 epochs.

    Args:
        alpha, beta: >= 0.
        begin, first: when targets are first replaced and when the first stage ends, as fractions of the run; 70 and 200
            of 320 epochs in the released code. Each stage lasts an epoch at least, and the second starts from replaced
            targets in any case.
        averaged: fraction of the run; 10 of 320 epochs in the paper.
        soft: false: the targets are the largest class of the mean, not the mean.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: Tanaka, Ikami, Yamasaki, Aizawa 2018, arXiv:1803.11364, equations 4 to 9 and algorithm 1.
    """

    target: Tensor
    past: Tensor

    def __init__(
        self, setup: Setup, alpha: float, beta: float, begin: float, first: float, averaged: float, soft: bool
    ) -> None:
        super().__init__(setup)
        only_ce(setup, "method=refinery")
        for name, value in {"alpha": alpha, "beta": beta}.items():
            if not value >= 0:
                raise ValueError(f"method.{name}={value}: must be a number, at least 0")
        for name, value in {"begin": begin, "first": first, "averaged": averaged}.items():
            if not 0 <= value <= 1:
                raise ValueError(f"method.{name}={value}: must be a number from 0 to 1")
        if begin > first:
            raise ValueError(f"method.begin={begin}: must not be above method.first={first}")
        self.alpha, self.beta, self.soft = alpha, beta, soft
        epochs = self.clock.epochs
        # a run of a single epoch has no second stage
        self.end = min(self.clock.length(first), epochs - 1) if epochs > 1 else epochs + 1
        self.begin = min(self.clock.length(begin), self.end)
        self.stages = nn.ModuleList([setup.make_learner(schedule=constant), setup.make_learner()])
        self.learners()[1].learn_during(self.end, max(1, epochs - self.end))
        count, classes = len(setup.train), setup.train.num_classes
        self.register_buffer("target", F.one_hot(setup.train.labels, classes).float())
        # predictions of the last epochs, each in the place of the oldest
        self.register_buffer("past", torch.zeros(self.clock.length(averaged), count, classes))

    @property
    def learner(self) -> Learner:
        """The network of the stage under way."""
        return self.learners()[int(self.clock.epoch >= self.end)]

    @property
    def network(self) -> nn.Module:
        return self.learner.network

    def begin_epoch(self) -> None:
        """Replace the targets."""
        epoch = self.clock.epoch
        if self.begin <= epoch <= self.end:
            mean = self.past[: min(epoch, len(self.past))].mean(dim=0)
            self.target.copy_(mean if self.soft else F.one_hot(mean.argmax(dim=1), mean.shape[1]))

    def feeds(self) -> list[Feed]:
        """Every image once; the kind says where the first stage's predictions go."""
        epoch = self.clock.epoch
        kind = ("retrain",) if epoch >= self.end else ("refine", epoch % len(self.past))
        return [Feed(kind, feed.index) for feed in super().feeds()]

    def step(self, feed: Feed) -> StepResult:
        index = feed.index["train"]
        learner: Learner = self.learners()[int(feed.kind[0] == "retrain")]
        target = self.target[index]
        logs = log_probs(learner(self.train_set.view(index)))
        loss = soft_cross_entropy(logs, target)
        if feed.kind[0] == "refine":
            loss = loss + self.alpha * prior_divergence(logs) + self.beta * entropy(logs)
            self.past[int(feed.kind[1]), index] = logs.detach().exp().to(self.past.dtype)
        learner.update(loss)
        return StepResult(loss.detach(), index, logs.detach().argmax(dim=1), target=target.argmax(dim=1))

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)

    def audit(self) -> Audit:
        """The probability that the targets give the label, and their largest class."""
        given = self.target.gather(1, self.train_set.labels[:, None]).squeeze(1)
        return Audit(given, self.target.argmax(dim=1))
