"""Cam-softmax: cosines as logits, and a curve for the label's logit that bends as training goes on."""

import math
from typing import Annotated

import torch
from annotated_types import Gt, Le
from torch import Tensor

from labelnoise.arguments.ranges import NonNegative, Positive, checked
from labelnoise.losses.base import at_label
from labelnoise.methods.erm import ERM
from labelnoise.networks.readout import Cosine, last_layer
from labelnoise.training.criterion import Outputs
from labelnoise.training.method import Feed, Setup, StepResult


class CamSoftmax(ERM):
    """The logits are scale x, with x the cosines of the features and each class's weights; there is no bias.

    In training the label's x becomes f(x) = (1 + x)^k / 2^(k - 1) - 1 with k = 1 / (1 - log2(1 + cos c)). Whatever the
    angle c, f(-1) = -1, f(cos c) = 0 and f(1) = 1. c starts at pi / 2, where f(x) = x, softmax on cosines, and falls by
    `decay` with each update down to `last`. The smaller c, the closer to its class an image must be, and the less those
    far from it pull. Predictions are the softmax of scale x.

    Args:
        scale: > 0.
        decay: of c with each update, >= 0. Not a fraction of the run, because the paper's code counts updates.
        last: the smallest c, above 0, at most pi / 2.
    Raises:
        ValueError: a hyper-parameter out of range, or a network without features and a linear head.
    Source: Suveges, McKenna 2021 (ICPR 2020), Cam-softmax for discriminative deep feature learning; the formulas, c's
        schedule and the values are those of the first author's public code.
    """

    provides = frozenset({"logits", "labels", "batch"})

    updates: Tensor

    @checked
    def __init__(
        self, setup: Setup, scale: Positive, decay: NonNegative, last: Annotated[float, Gt(0), Le(math.pi / 2)]
    ) -> None:
        super().__init__(setup)
        self.scale, self.decay, self.last = scale, decay, last
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        last_layer(self.learner.network)  # its bias, if any, takes no part

    @property
    def network(self) -> Cosine:
        """The network with its own readout, so that a saved one predicts as the method does."""
        return Cosine(self.learner.network, self.scale)

    def angle(self) -> Tensor:
        """c of the next update, 0-d."""
        return (math.pi / 2 - self.decay * self.updates.double()).clamp_min(self.last)

    @staticmethod
    def curve(x: Tensor, angle: Tensor) -> Tensor:
        """f(x). Shapes: (...) in [-1, 1], 0-d -> (...)."""
        exponent = 1 / (1 - torch.log2(1 + angle.cos()))
        return 2 * ((1 + x) / 2).pow(exponent.to(x.dtype)) - 1

    def train_step(self, feed: Feed) -> StepResult:
        batch, angle = self.train_set.batch(feed.index["train"]), self.angle()
        logits = self.network.of_features(self.learner.with_features(batch.images)[1])
        label = at_label(logits, batch.labels).bool()
        bent = torch.where(label, self.scale * self.curve(logits / self.scale, angle), logits)
        outputs = Outputs(bent)
        loss = self.criterion.mean(self.objective(outputs, batch), outputs, batch)
        self.learner.update(loss)
        self.updates += 1
        predicted, metrics = logits.detach().argmax(dim=1), {"angle": angle.float()}
        return StepResult(loss.detach(), batch.index, predicted=predicted, metrics=metrics)

    def predict(self, images: Tensor) -> Tensor:
        return self.network.of_features(self.learner.with_features(images)[1])
