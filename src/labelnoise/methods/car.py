"""Confidence-adaptive regularisation: an extra output weights each image by confidence, and targets are corrected."""

import torch
from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import Fraction, NonNegative, checked
from labelnoise.losses.base import at_least_single
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.method import Feed, Judgement, Method, Setup, StepResult

LOG_ZERO = -4.0  # replaces log 0 in the reverse cross-entropy
FLOOR = 1e-7  # lower clamp of the arguments of logarithms


class CAR(Method):
    """For an image with prediction p, confidence h in (0, 1) and target t, the loss is

        -sum_k t_k log(h (p_k - t_k) + t_k) - lam log h - beta sum_k p_k log t_k.

    As h tends to 0 the first term vanishes, so the image is ignored; the second term penalises that. The targets start
    as the given labels. After `warm_up`, each time an image is used and before its loss is computed, its target becomes
    keep t + (1 - keep) p if the largest p is at least `sure`. The confidence is the sigmoid of an extra output.

    Memory: (N, C) floats.

    Args:
        lam, beta: >= 0.
        warm_up: fraction of the run before targets change, 0 to 1; 0: they change from the first epoch on.
        keep, sure: 0 to 1.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: a reconstruction of Lu, Bo, He 2021, arXiv:2108.08212, Confidence Adaptive Regularization, from notes: no
        code is public, and the form of the targets, their thresholds, the third term and the values are not confirmed.
    Differs: the confidence is linear in the features; the paper uses a small network.
    """

    target: Tensor

    @checked
    def __init__(
        self, setup: Setup, lam: NonNegative, beta: NonNegative, warm_up: Fraction, keep: Fraction, sure: Fraction
    ) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=car")
        self.lam, self.beta, self.warm_up, self.keep, self.sure = lam, beta, warm_up, keep, sure
        self.learner = setup.make_learner(extra_outputs=1)
        classes = setup.train.num_classes
        self.remember("target", (classes,), F.one_hot(setup.train.labels, classes))

    def feeds(self) -> list[Feed]:
        """Every image once; the step's number is 1 if targets are corrected."""
        return self.every_image("train", self.clock.stage(self.warm_up))

    def train_step(self, feed: Feed, correct: int) -> StepResult:
        index = feed.index["train"]
        outputs = at_least_single(self.learner(self.train_set.view(index)))
        probs, trust = outputs[:, :-1].softmax(dim=1), outputs[:, -1]
        target = self.target[index]
        if correct:
            target = self.moved(target, probs.detach().to(target.dtype))
            self.target[index] = target
        loss = self.values(probs, trust, target).mean()
        self.learner.update(loss)
        metrics = {"confidence": trust.detach().sigmoid().mean()}
        return StepResult(
            loss.detach(), index, probs.detach().argmax(dim=1), target=target.argmax(dim=1), metrics=metrics
        )

    def moved(self, target: Tensor, probs: Tensor) -> Tensor:
        """The next targets. Shapes: (B, C), (B, C) -> (B, C)."""
        sure = probs.amax(dim=1, keepdim=True) >= self.sure
        return torch.where(sure, self.keep * target + (1 - self.keep) * probs, target)

    def values(self, probs: Tensor, trust: Tensor, target: Tensor) -> Tensor:
        """The loss of each image. Shapes: p (B, C), the logit of h (B,), t (B, C) -> (B,)."""
        trusted = trust.sigmoid()[:, None] * (probs - target) + target
        adaptive = -(target * trusted.clamp_min(FLOOR).log()).sum(dim=1)
        reverse = -(probs * target.clamp_min(FLOOR).log().clamp_min(LOG_ZERO)).sum(dim=1)
        return adaptive - self.lam * F.logsigmoid(trust) + self.beta * reverse

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)[:, :-1]

    def judgement(self) -> Judgement:
        return Judgement.of_target(self.target, self.train_set.labels)
