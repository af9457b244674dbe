"""Applies the configured loss and regulariser to a learner's outputs, and computes the outputs that they need."""

from typing import NamedTuple

import torch
from torch import Tensor

from labelnoise.data.train_set import Batch
from labelnoise.losses.base import needs_of
from labelnoise.training.learner import Learner
from labelnoise.training.method import Setup

# The names of `losses.base.needs` that a step's outputs provide. The others are bound before training.
PROVIDED = frozenset({"features", "other_logits", "logits", "labels", "extra_output", "new_features", "batch"})


class Outputs(NamedTuple):
    """A learner's outputs for a batch.

    Attributes:
        logits: (B, C), or (B, C + 1) for a loss that needs an extra output.
        features: (B, D), penultimate; None if not needed.
        other_logits: as logits, of a second augmented view; None if not needed.
    """

    logits: Tensor
    features: Tensor | None = None
    other_logits: Tensor | None = None


class Criterion:
    """A method's loss and regulariser.

    Args:
        setup: the method's.
    """

    def __init__(self, setup: Setup) -> None:
        self._loss, self._regulariser, self._train = setup.loss, setup.regulariser, setup.train
        self._of_loss = needs_of(setup.loss)
        self._of_regulariser = frozenset[str]() if setup.regulariser is None else needs_of(setup.regulariser)
        self._needs = self._of_loss | self._of_regulariser
        self.extra_outputs = int("extra_output" in self._of_loss)

    def outputs(self, learner: Learner, batch: Batch) -> Outputs:
        """The outputs that the loss or the regulariser needs.

        A second view goes through the network in the same pass as the first, so both share the batch statistics.
        """
        if "other_logits" in self._needs:
            views = torch.cat([batch.images, self._train.view(batch.index)])
            logits, other = learner(views).chunk(2)
            return Outputs(logits, other_logits=other)
        if not self._needs & {"features", "new_features"}:
            return Outputs(learner(batch.images))
        outputs = Outputs(*learner.with_features(batch.images))
        if self._regulariser is not None and "new_features" in self._of_regulariser:
            features = self._regulariser(**self._given(outputs, batch, self._of_regulariser))
            outputs = Outputs(learner.head(features), features)
        return outputs

    def values(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The loss of each image (B,), or 0-d for a loss of the whole batch."""
        return self._loss(outputs.logits, batch.labels, **self._given(outputs, batch, self._of_loss))

    def mean(self, values: Tensor, outputs: Outputs, batch: Batch) -> Tensor:
        """The mean of the values plus the regulariser, 0-d."""
        if self._regulariser is None or "new_features" in self._of_regulariser:
            return values.mean()
        return values.mean() + self._regulariser(**self._given(outputs, batch, self._of_regulariser))

    def _given(self, outputs: Outputs, batch: Batch, needs: frozenset[str]) -> dict[str, Tensor]:
        known = {**outputs._asdict(), "labels": batch.labels}
        return {name: known[name] for name in needs & known.keys()}
