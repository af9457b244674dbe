"""Adaptive losses: a robust loss's hyper-parameters are learned by looking ahead to a few trusted images."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from labelnoise.arguments.ranges import Positive, checked
from labelnoise.data.train_set import Batch
from labelnoise.losses.base import log_prob_of_label, of_label
from labelnoise.losses.reverse import rce
from labelnoise.losses.tempered import tempered_log_probs
from labelnoise.meta_learning.looking_ahead import LookingAhead
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.method import Feed, Setup, StepResult

Form = Literal["gce", "sce", "bi_tempered", "poly_soft"]
FLOOR = 1e-6  # of 1 - l / lambda, so that derivatives stay finite where the weight is 0


def gce(logits: Tensor, labels: Tensor, q: Tensor) -> Tensor:
    """(1 - p_y^q) / q. Shapes: (B, C), (B,), 0-d -> (B,)."""
    return -torch.expm1(q * log_prob_of_label(logits, labels)) / q


def sce(logits: Tensor, labels: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """alpha CE + beta RCE, with the project's log 0. Shapes: (B, C), (B,), 0-d, 0-d -> (B,)."""
    return beta * rce(logits, labels) - alpha * log_prob_of_label(logits, labels)


def bi_tempered(logits: Tensor, labels: Tensor, t1: Tensor, t2: Tensor) -> Tensor:
    """The bi-tempered logistic loss, for t1 < 1 < t2. Shapes: (B, C), (B,), 0-d, 0-d -> (B,)."""
    logs = tempered_log_probs(logits, t2, order=2)
    label = -torch.expm1((1 - t1) * of_label(logs, labels)) / (1 - t1)
    return label - (1 - ((2 - t1) * logs).exp().sum(dim=1)) / (2 - t1)


def poly_soft(logits: Tensor, labels: Tensor, lam: Tensor, d: Tensor) -> Tensor:
    """Polynomial soft weighting, (d-1)/d lam (1 - (1 - l/lam)^(d/(d-1))) with l the cross-entropy, constant above lam.

    So an image's weight is (1 - l/lam)^(1/(d-1)). Shapes: (B, C), (B,), 0-d, 0-d -> (B,).
    """
    share = (1 + log_prob_of_label(logits, labels) / lam).clamp_min(FLOOR)
    return (d - 1) / d * lam * (1 - share ** (d / (d - 1)))


class Adaptive(NamedTuple):
    """A loss `(logits, labels, *hyper-parameters) -> (B,)`, and (low, start, high) of each hyper-parameter by name."""

    loss: Callable[..., Tensor]
    ranges: dict[str, tuple[float, float, float]]


FORMS: dict[Form, Adaptive] = {
    "gce": Adaptive(gce, {"q": (0.01, 0.7, 1.0)}),
    "sce": Adaptive(sce, {"alpha": (0.0, 0.1, 10.0), "beta": (0.0, 1.0, 10.0)}),
    "bi_tempered": Adaptive(bi_tempered, {"t1": (0.0, 0.8, 0.99), "t2": (1.01, 1.2, 4.0)}),
    "poly_soft": Adaptive(poly_soft, {"lam": (0.5, 5.0, 20.0), "d": (1.1, 2.0, 10.0)}),
}


class AdaptiveLoss(LookingAhead):
    """One or two hyper-parameters of a robust loss follow the training. In each step they are looked ahead: a virtual
    step of plain SGD on the batch's mean loss, at the network's learning rate; the hyper-parameters' step of SGD, at
    `rate` times that learning rate, on the trusted images' cross-entropy after it; and the network's step with the new
    ones. They are kept in their range. The trusted images leave no trace in running statistics.

    Args:
        form: the loss; the history has its hyper-parameters by name.
        rate: of the hyper-parameters' steps, in learning rates, > 0.
    Raises:
        ValueError: a hyper-parameter out of range, no trusted images, or a loss other than cross-entropy.
    Source: Shu, Zhao, Chen, Xu, Meng 2020, arXiv:2002.06482, equations 2 to 10. Reconstruction: forms and steps are the
        paper's, as a later text gives them; `rate`, the ranges and where the hyper-parameters start are ours.
    Differs: the normalisation of bi_tempered is Newton's, with exact second derivatives.
    """

    hyper: Tensor
    low: Tensor
    high: Tensor

    @checked
    def __init__(self, setup: Setup, form: Form, rate: Positive) -> None:
        super().__init__(setup, "adaptive_loss")
        require_cross_entropy(setup, "method=adaptive_loss")
        self.rate = rate
        self.adaptive, ranges = FORMS[form]
        self.names = tuple(ranges)
        low, start, high = torch.tensor(list(ranges.values()), device=setup.train.labels.device).T.clone()
        self.register_buffer("hyper", start)
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)

    def train_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        logits = self.learner(batch.images)
        slope, trusted_loss = self.look_ahead(feed, batch, logits, self.hyper)
        moved = self.hyper - self.rate * self.learner.optimizer.param_groups[0]["lr"] * slope
        self.hyper.copy_(torch.minimum(torch.maximum(moved, self.low), self.high))
        loss = self.adaptive(logits, batch.labels, *self.hyper.clone()).mean()
        self.learner.update(loss)
        metrics = {"trusted_loss": trusted_loss, **dict(zip(self.names, self.hyper.clone(), strict=True))}
        return StepResult(loss.detach(), batch.index, logits.detach().argmax(dim=1), metrics=metrics)

    def look_ahead(self, feed: Feed, batch: Batch, logits: Tensor, hyper: Tensor) -> tuple[Tensor, Tensor]:
        """How the trusted images' loss after a virtual step changes with the hyper-parameters, and that loss.

        Shapes: (B, C), (H,) -> (H,), 0-d.
        """
        loss = lambda z, given: self.adaptive(z, batch.labels, *given).mean()  # noqa: E731
        return self.slope(feed, batch.images, logits, hyper, loss)
