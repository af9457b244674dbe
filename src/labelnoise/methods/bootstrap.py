"""Bootstrapping: the target mixes the given label with the network's own prediction."""

from typing import Literal

from torch import Tensor

from labelnoise.arguments.ranges import Fraction, checked
from labelnoise.data.train_set import Batch
from labelnoise.losses.base import log_probs, of_label
from labelnoise.methods.erm import ERM
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.criterion import Outputs
from labelnoise.training.method import Setup

PUBLISHED = {"soft": 0.95, "hard": 0.8}


class Bootstrap(ERM):
    """Cross-entropy with the target beta y + (1 - beta) s; s is the prediction p (soft) or its largest class (hard).

    The soft target is not detached, so the loss is cross-entropy plus a penalty on the entropy of p.

    Args:
        kind: soft or hard.
        beta: weight of the given label, 0 to 1; None: as in the paper, 0.95 for soft and 0.8 for hard.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: Reed, Lee, Anguelov, Szegedy, Erhan, Rabinovich 2015, arXiv:1412.6596, section 3.
    """

    @checked
    def __init__(self, setup: Setup, kind: Literal["soft", "hard"], beta: Fraction | None = None) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=bootstrap")
        self.kind, self.beta = kind, PUBLISHED[kind] if beta is None else beta

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        logs = log_probs(outputs.logits)
        own = (logs.exp() * logs).sum(dim=1) if self.kind == "soft" else logs.amax(dim=1)
        return -self.beta * of_label(logs, batch.labels) - (1 - self.beta) * own
