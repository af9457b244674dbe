"""Empirical risk minimisation that records how each image's given label was predicted during training."""

import torch
from torch import Tensor

from labelnoise.data.train_set import Batch
from labelnoise.losses.base import margin, of_label
from labelnoise.methods.erm import ERM
from labelnoise.training.criterion import Outputs
from labelnoise.training.method import Judgement, Setup


class AuditedERM(ERM):
    """ERM that averages each image's class probabilities, loss and margin over the epochs, without extra passes.

    Wrong labels are fitted late, so a mean over epochs separates them from right ones even if the last epoch cannot.
    The probabilities are those of the training passes: of augmented images, before each update.

    Sources: the mean margin is the area under the margin of Pleiss et al. 2020 (arXiv:2001.10528), on probabilities in
    place of logits; the mean loss as in O2U-Net (Huang et al. 2019).

    Attributes:
        passes: (N,), number of training passes of each image.
        probability_sum: (N, C), sum of the class probabilities.
        loss_sum: (N,), sum of -log p_given.
        margin_sum: (N,), sum of p_given minus the largest other probability.
    """

    passes: Tensor
    probability_sum: Tensor
    loss_sum: Tensor
    margin_sum: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.remember("passes")
        self.remember("probability_sum", (self.train_set.num_classes,))
        self.remember("loss_sum")
        self.remember("margin_sum")

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        with torch.no_grad():
            log_p = self._classes(outputs.logits).float().log_softmax(dim=1)
            p = log_p.exp()
            self.passes.index_add_(0, batch.index, torch.ones_like(batch.labels, dtype=torch.float32))
            self.probability_sum.index_add_(0, batch.index, p)
            self.loss_sum.index_add_(0, batch.index, -of_label(log_p, batch.labels))
            self.margin_sum.index_add_(0, batch.index, margin(p, batch.labels))
        return super().objective(outputs, batch)

    def mean_probabilities(self) -> Tensor:
        """Over the epochs so far. Shapes: -> (N, C); uniform for an image that was not used yet."""
        uniform = 1 / self.train_set.num_classes
        mean = self.probability_sum / self.passes[:, None].clamp_min(1)
        return torch.where(self.passes[:, None] > 0, mean, uniform)

    def mean_loss(self) -> Tensor:
        """-log p_given over the epochs so far. Shapes: -> (N,)."""
        return self.loss_sum / self.passes.clamp_min(1)

    def mean_margin(self) -> Tensor:
        """p_given minus the largest other probability, over the epochs so far. Shapes: -> (N,)."""
        return self.margin_sum / self.passes.clamp_min(1)

    def judgement(self) -> Judgement:
        """`clean` is exp(-mean loss), the geometric mean of p_given; `proposed` has the largest mean probability.

        The loss was preferred to the margin after a comparison with known labels, on digits and a short CIFAR-10N run.
        """
        return Judgement((-self.mean_loss()).exp(), self.mean_probabilities().argmax(dim=1))
