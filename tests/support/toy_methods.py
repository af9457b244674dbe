"""Methods that use all of the seam and little else; `test_seam.py` trains, stops and resumes them.

Those at the end use what they know of the true labels; `test_true_labels.py` tells whether they say so.
"""

import inspect

import torch
from torch import Tensor, nn

from labelnoise.data.train_set import Batch
from labelnoise.methods.erm import ERM
from labelnoise.training.criterion import Outputs
from labelnoise.training.learner import Learners
from labelnoise.training.method import Feed, Judgement, Method, Setup, StepResult


class TwoInAList(Method):
    """Two networks in a list, one of them of another kind and rate."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        linear = lambda classes, channels, size: nn.Sequential(nn.Flatten(), nn.Linear(channels * size**2, classes))  # noqa: E731
        slow = lambda weights: torch.optim.SGD(weights, lr=0.125)  # noqa: E731
        self.both = Learners([setup.make_learner(), setup.make_learner(network=linear, optimizer=slow)])

    def train_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        first, second = self.both
        for learner in self.both:
            loss = self.loss(learner(batch.images), batch.labels).mean()
            learner.update(loss)
        rates = [learner.optimizer.param_groups[0]["lr"] for learner in (first, second)]
        metrics = {
            "rate_first": torch.as_tensor(rates[0]).clone(),
            "rate_second": torch.as_tensor(rates[1]).clone(),
            "training": torch.tensor(float(second.network.training)),
        }
        return StepResult(loss.detach(), batch.index, metrics=metrics)

    def predict(self, images: Tensor) -> Tensor:
        return self.both[0](images)


class Staged(Method):
    """Two stages: the second scores all images, keeps a list of those it trusts and trains on labelled and unlabelled
    ones, with an output that the first stage does not have."""

    trusted: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.learner = setup.make_learner()
        self.register_buffer("trusted", torch.zeros(0, dtype=torch.long))

    def begin_epoch(self) -> None:
        if self.clock.stage(0.4) == 1:
            losses = self.score(lambda index, images, labels: self.loss(self.learner(images), labels))
            self.trusted = (losses < losses.median()).nonzero().flatten()

    def feeds(self) -> list[Feed]:
        if self.clock.stage(0.4) == 0:
            return super().feeds()
        rest = torch.ones(len(self.train_set), dtype=torch.bool).index_fill_(0, self.trusted, False)
        orders = (
            self.train_set.order(self.clock.batch_size, among) for among in (self.trusted, rest.nonzero().flatten())
        )
        return [Feed(("both",), {"labelled": a, "unlabelled": b}) for a, b in zip(*orders, strict=False)]

    def step(self, feed: Feed) -> StepResult:
        if feed.step == ("train",):
            batch = self.train_set.batch(feed.index["train"])
            loss = self.loss(self.learner(batch.images), batch.labels).mean()
            self.learner.update(loss)
            return StepResult(loss.detach(), batch.index)
        batch, other = (self.train_set.batch(feed.index[name]) for name in ("labelled", "unlabelled"))
        logits, guesses = self.learner(batch.images), self.learner(other.images)
        sharp = -(guesses.softmax(1) * guesses.log_softmax(1)).sum(1).mean()
        loss = self.loss(logits, batch.labels).mean()
        self.learner.update(loss + 0.1 * sharp)
        index = torch.cat([batch.index, other.index])
        target = torch.cat([batch.labels, guesses.detach().argmax(1)])
        metrics = {"entropy": sharp.detach(), "stage": torch.tensor(float(self.clock.stage(0.4)))}
        return StepResult(loss.detach(), index, target=target, selected=index < 0, metrics=metrics)

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)

    def judgement(self) -> Judgement:
        clean = torch.zeros(len(self.train_set)).index_fill_(0, self.trusted, 1.0)
        return Judgement(clean, self.train_set.labels)


class Assuming(ERM):
    """Plain training with its loss scaled by the share of right labels, which it says that it is told."""

    assumes = frozenset({"transition"})

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.register_buffer("scale", setup.transition.diagonal().mean(), persistent=False)

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        return self.scale * super().objective(outputs, batch)


class Undeclared(Assuming):
    """As `Assuming`, and does not say so."""

    assumes: frozenset[str] = frozenset()


class Peeking(Assuming):
    """Takes the share of right labels from the one who builds it, and does not say so."""

    assumes: frozenset[str] = frozenset()

    def __init__(self, setup: Setup) -> None:
        ERM.__init__(self, setup)
        frame = inspect.currentframe()
        while "dataset" not in frame.f_locals:
            frame = frame.f_back
        share = (frame.f_locals["dataset"].true_labels == frame.f_locals["labels"]).float().mean()
        self.register_buffer("scale", share, persistent=False)
