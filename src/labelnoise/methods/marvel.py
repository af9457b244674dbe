"""MARVEL: an image whose margin is negative for several epochs in a row is abandoned. A reconstruction."""

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from labelnoise.arguments.ranges import Fraction, NonNegative, PositiveFraction, checked
from labelnoise.losses.base import log_probs, margin
from labelnoise.methods.erm import ERM
from labelnoise.training.method import Feed, Judgement, Setup, StepResult


class MARVEL(ERM):
    """The margin of an image is m = p_y - max over k != y of p_k, at its visit in each epoch.

    After the warm-up an image is abandoned once its margin was below `threshold` in `window` epochs in a row, those of
    the warm-up included: its weight w is 0 from that visit to the end of the run. The loss of a batch is
    sum w l / sum w.

    Args:
        warm_up, window: fractions of the run, at least one epoch each; a warm_up of 0 is none.
        threshold: of the margin, -1 to 1.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: a reconstruction from the abstract of Lin, Bradic 2021, arXiv:2102.00751: "a history of margins",
        "consecutive negative margins", "zeroing out their weights". Chosen here: margins are those of the training
        steps, on augmented images; sum w in the denominator; all values.
    """

    margin: Tensor
    negative: Tensor
    abandoned: Tensor

    @checked
    def __init__(
        self, setup: Setup, warm_up: Fraction, window: PositiveFraction, threshold: Annotated[float, Ge(-1), Le(1)]
    ) -> None:
        super().__init__(setup)
        self.warm_up, self.window, self.threshold = warm_up, window, threshold
        self.remember("margin")  # at the last visit
        self.remember("negative", dtype=torch.long)  # for how many epochs in a row the margin was
        self.remember("abandoned", dtype=torch.bool)

    def feeds(self) -> list[Feed]:
        """Every image once; the step's number is 1 if images are abandoned."""
        return self.every_image("train", self.clock.stage(self.warm_up))

    def train_step(self, feed: Feed, abandon: int = 0) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        outputs = self.criterion.outputs(self.learner, batch)
        logits = self._classes(outputs.logits.detach())
        margins = margin(log_probs(logits).exp(), batch.labels)
        self.visit(batch.index, margins, abandon)
        kept = ~self.abandoned[batch.index]
        weights = kept * self.weight(margins)
        shares = weights * (len(weights) / weights.sum().clamp_min(1e-6))  # so that the batch's mean is sum w l / sum w
        loss = self.criterion.mean(self.objective(outputs, batch) * shares, outputs, batch)
        self.learner.update(loss)
        metrics = {"abandoned": self.abandoned.float().mean()}
        return StepResult(loss.detach(), batch.index, logits.argmax(dim=1), kept, metrics=metrics)

    def visit(self, index: Tensor, margins: Tensor, abandon: int) -> None:
        """Store the margins of a batch. Shapes: (B,), (B,).

        Args:
            abandon: abandon the images whose margin was below the threshold for the whole window.
        """
        self.margin[index] = margins.to(self.margin.dtype)
        self.negative[index] = torch.where(margins < self.threshold, self.negative[index] + 1, 0)
        if abandon:
            self.abandoned[index] |= self.negative[index] >= self.clock.length(self.window)

    def weight(self, margins: Tensor) -> Tensor:
        """The weight of each image that is kept. Shapes: (B,) -> (B,)."""
        return torch.ones_like(margins)

    def judgement(self) -> Judgement:
        """The margin at the last visit, less the epochs in a row that it was negative; those abandoned come last."""
        return Judgement(self.margin - self.negative - (self.clock.epochs + 2) * self.abandoned)


class MARVELPlus(MARVEL):
    """MARVEL that gives arduous images more weight: 1 + gain where 0 <= m < arduous, else 1.

    Args:
        gain: >= 0.
        arduous: above 0 and at most 1.
        warm_up, window, threshold: as MARVEL's.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: as MARVEL's. The abstract says that arduous instances have more weight; the formula is a reconstruction.
    """

    @checked
    def __init__(
        self,
        setup: Setup,
        warm_up: Fraction,
        window: PositiveFraction,
        threshold: Annotated[float, Ge(-1), Le(1)],
        gain: NonNegative,
        arduous: Annotated[float, Gt(0), Le(1)],
    ) -> None:
        super().__init__(setup, warm_up, window, threshold)
        self.gain, self.arduous = gain, arduous

    def weight(self, margins: Tensor) -> Tensor:
        return 1 + self.gain * ((margins >= 0) & (margins < self.arduous))
