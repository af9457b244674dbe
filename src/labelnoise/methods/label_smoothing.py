"""Label smoothing: spreads a share of each label evenly over all classes; the share may be negative."""

from typing import Annotated

from annotated_types import Le
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.data.train_set import Batch
from labelnoise.losses.base import log_probs, of_label
from labelnoise.methods.erm import ERM
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.criterion import Outputs
from labelnoise.training.method import Setup


class LabelSmoothing(ERM):
    """Cross-entropy with the target (1 - smoothing) y + smoothing / C.

    Negative smoothing pushes the other classes down. The objective then has no lower bound, but its gradient with
    respect to the logits, p minus the target, stays bounded.

    Args:
        smoothing: at most 1; 0 is cross-entropy.
    Raises:
        ValueError: smoothing out of range, or a loss other than cross-entropy.
    Source: Lukasik, Bhojanapalli, Menon, Kumar 2020, arXiv:2003.02819, section 3, for positive smoothing; Wei, Liu,
        Liu, Niu, Sugiyama, Liu 2022, arXiv:2106.04149, generalized label smoothing, for both signs.
    """

    @checked
    def __init__(self, setup: Setup, smoothing: Annotated[float, Le(1)]) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=label_smoothing")
        self.smoothing = smoothing

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        logs = log_probs(outputs.logits)
        return -(1 - self.smoothing) * of_label(logs, batch.labels) - self.smoothing * logs.mean(dim=1)
