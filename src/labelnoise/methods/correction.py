"""Loss correction with the transition matrix: forward corrects the predictions, backward the losses."""

from abc import ABC
from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from labelnoise.arguments.ranges import Fraction, PositiveFraction, checked
from labelnoise.data.train_set import Batch
from labelnoise.estimates.transition import anchor_estimate, error_of, given_matrix
from labelnoise.losses.base import log_probs
from labelnoise.methods.erm import ERM
from labelnoise.methods.own_loss import is_ce
from labelnoise.training.criterion import Outputs
from labelnoise.training.method import Feed, Setup, StepResult

SMALLEST = 1e-30  # replaces a probability of 0, whose logarithm is infinite


def inverse_of(matrix: Tensor) -> Tensor:
    """The pseudo-inverse, computed in float64, in the matrix's type. Shapes: (C, C) -> (C, C)."""
    return torch.linalg.pinv(matrix.double()).to(matrix.dtype)


class Correction(ERM, ABC):
    """The base of both corrections: the matrix T, T_ij = P(given j | true i), and its estimate.

    With `transition=anchor`, training starts without correction (T is the identity). After `warm_up`, T is estimated
    from the predictions on the training images, and the same network continues with it. If the true matrix is known,
    the history has the estimate's error as `transition_error` (see `transition.error_of`); training does not use it.

    Args:
        transition: true, the noise's true matrix; anchor; or a .npy or .json file with (C, C), rows the true class.
        warm_up: epochs before the estimate, as a fraction of the run, above 0.
        quantile: of the estimate, see `transition.anchor_estimate`; 0 to 1.
    Raises:
        ValueError: a hyper-parameter out of range, or the matrix is unknown or invalid.
    Source: Patrini, Rozza, Menon, Nock, Qu 2017, arXiv:1609.03683, theorems 1 and 2, section 4.
    Differs: the paper trains one network to the end for the estimate and a second one with the correction. For an
        estimate at a quantile, the released code sets a class's probabilities from the quantile on to 0 and takes the
        largest that is left. The next rows are read with these zeros, and are normalised.
    """

    provides = frozenset({"logits", "labels"})
    assumes = frozenset({"transition"})

    matrix: Tensor
    inverse: Tensor

    @checked
    def __init__(self, setup: Setup, transition: bool | str, warm_up: PositiveFraction, quantile: Fraction) -> None:
        super().__init__(setup)
        matrix = given_matrix(transition, setup.transition, setup.train.num_classes)
        self.estimates, self.quantile = matrix is None, quantile
        # a run of a single epoch ends before the estimate
        self.start = min(self.clock.length(warm_up), max(1, self.clock.epochs - 1))
        matrix = torch.eye(setup.train.num_classes) if matrix is None else matrix
        self.register_buffer("matrix", matrix.clone())
        self.register_buffer("inverse", inverse_of(matrix))

    def begin_epoch(self) -> None:
        """Estimate the matrix, once."""
        if self.estimates and self.clock.epoch == self.start:
            probs = self.score(lambda index, images, labels: log_probs(self.predict(images)).exp())
            self.matrix.copy_(anchor_estimate(probs, self.quantile))
            self.inverse.copy_(inverse_of(self.matrix))

    def train_step(self, feed: Feed) -> StepResult:
        result = super().train_step(feed)
        if self.estimates and self.transition is not None:
            result.metrics["transition_error"] = error_of(self.matrix, self.transition)
        return result


class Forward(Correction):
    """The loss of the predicted distribution of given labels, l(T' p, y). With the true T it has the clean minimiser.

    Args, Raises, Source: as in `Correction`; theorem 2. The paper uses cross-entropy; any loss of the logits works.
    Differs: the released code clips p to [1e-7, 1 - 1e-7] first, which changed no step beside it.
    """

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        logs = self.matrix.clamp_min(SMALLEST).log()
        given = (log_probs(outputs.logits)[:, :, None] + logs).logsumexp(dim=1)  # log sum_i p_i T_ij
        return super().objective(outputs._replace(logits=given), batch)


class Backward(Correction):
    """The losses of all labels weighted by the inverse, sum_j (T^-1)_yj l(p, j): unbiased for the clean loss.

    Weights may be negative, and so may the objective. If T has no inverse, its pseudo-inverse is used. p is clipped to
    [clip, 1 - clip]: without it the objective has no lower bound. Cross-entropy is -log of the clipped p, as released.

    Args, Raises, Source: as in `Correction`; theorem 1.
        clip: above 0, below 0.5; 1e-7 in the released code.
    Differs: any loss of the logits works, the released code has cross-entropy alone. Other losses get log p, clipped,
        as logits, and are computed for every class.
    """

    @checked
    def __init__(
        self,
        setup: Setup,
        transition: bool | str,
        warm_up: PositiveFraction,
        quantile: Fraction,
        clip: Annotated[float, Gt(0), Lt(0.5)],
    ) -> None:
        super().__init__(setup, transition, warm_up, quantile)
        self.clip, self.cross_entropy = clip, is_ce(setup.loss)

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        count, classes = outputs.logits.shape
        logs = log_probs(outputs.logits).exp().clamp(self.clip, 1 - self.clip).log()
        if self.cross_entropy:
            return -(self.inverse[batch.labels] * logs).sum(dim=1)
        all_labels = torch.arange(classes, device=batch.labels.device).repeat(count)
        repeated = outputs._replace(logits=logs.repeat_interleave(classes, dim=0))
        losses = super().objective(repeated, batch._replace(labels=all_labels)).view(count, classes)
        return (self.inverse[batch.labels] * losses).sum(dim=1)
