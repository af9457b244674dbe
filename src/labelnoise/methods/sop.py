"""Sparse over-parameterisation: a few parameters per image model the error of its label."""

import torch
from torch import Tensor

from labelnoise.arguments.ranges import NonNegative, checked
from labelnoise.losses.base import at_label, log_probs
from labelnoise.methods.erm import ERM
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.method import Feed, Judgement, Setup, StepResult

START = 1e-8  # standard deviation of u and v at the start
FLOOR = 1e-4  # lower clamp of the probabilities


class SOP(ERM):
    """Models the label as p + u^2 y - v^2 (1 - y). Each image has its own u (1) and v (C), which start near 0.

    The network and u minimise the cross-entropy of this sum, clamped from below to 1e-4, normalised and clamped again.
    u^2 and v^2 count as at most 1. v and u minimise the squared error of the sum with the one-hot predicted class in
    place of p. u and v are updated with plain SGD on the batch mean, without weight decay and at constant rates.

    Memory: (N, C + 1) floats.

    Args:
        lr_u, lr_v: learning rates, >= 0.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: Liu, Zhu, Qu, You 2022, arXiv:2202.14026, section 2; the clamps, the one-hot prediction in the squared
        error, and that error's gradient for u, as in the released code. This is SOP, not SOP+.
    """

    u: Tensor
    v: Tensor

    @checked
    def __init__(self, setup: Setup, lr_u: NonNegative, lr_v: NonNegative) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=sop")
        self.lr_u, self.lr_v = lr_u, lr_v
        count, classes = len(setup.train), setup.train.num_classes
        self.remember("u", (1,), START * torch.randn(count, 1))
        self.remember("v", (classes,), START * torch.randn(count, classes))

    def train_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        u, v = (part[batch.index].requires_grad_() for part in (self.u, self.v))
        outputs = self.criterion.outputs(self.learner, batch)
        logs = log_probs(outputs.logits)
        label = at_label(logs, batch.labels)
        values = self.values(logs, label, u, v)
        loss = self.criterion.mean(values, outputs, batch)
        slope_u, slope_v = torch.autograd.grad(loss, (u, v), retain_graph=True)
        self.learner.update(loss)
        self.u[batch.index] -= self.lr_u * slope_u
        self.v[batch.index] -= self.lr_v * slope_v
        return StepResult(loss.detach(), batch.index, predicted=logs.detach().argmax(dim=1))

    @staticmethod
    def values(logs: Tensor, label: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Both losses of each image. Shapes: log p (B, C), one-hot (B, C), (B, 1), (B, C) -> (B,)."""
        more, less = u.square().clamp(0, 1) * label, v.square().clamp(0, 1) * (1 - label)
        total = (logs.exp() + more - less.detach()).clamp_min(FLOOR)
        explained = total / total.sum(dim=1, keepdim=True)
        cross_entropy = -(label * explained.clamp_min(FLOOR).log()).sum(dim=1)
        predicted = at_label(logs.detach(), logs.detach().argmax(dim=1))
        return cross_entropy + (predicted + more - less - label).square().sum(dim=1)

    def judgement(self) -> Judgement:
        """1 - u^2: high where the network, not the image's own parameter, accounts for the given label."""
        return Judgement(1 - self.u.squeeze(1).square().clamp(0, 1))
