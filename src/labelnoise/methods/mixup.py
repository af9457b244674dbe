"""mixup: trains on weighted means of two images, with the same weighted mean of the losses of their labels."""

import torch
from torch import Tensor

from labelnoise.arguments.ranges import Positive, checked
from labelnoise.methods.erm import ERM
from labelnoise.training.method import Feed, Setup, StepResult


class Mixup(ERM):
    """Each image of a batch is mixed with another, share x + (1 - share) x', and so are the losses of the two labels.

    Each batch draws s from Beta(alpha, alpha) and uses share = max(s, 1 - s), which gives the same distribution of
    pairs. The predictions in the history are those of the mixed images.

    Args:
        alpha: > 0; larger values move the share towards 1/2.
    Raises:
        ValueError: alpha out of range.
    Source: Zhang, Cisse, Dauphin, Lopez-Paz 2018, arXiv:1710.09412, equation 2 and figure 1.
    """

    provides = frozenset({"features", "logits", "new_features", "batch", "extra_output"})

    concentration: Tensor

    @checked
    def __init__(self, setup: Setup, alpha: Positive) -> None:
        super().__init__(setup)
        self.register_buffer("concentration", torch.full((2,), float(alpha)), persistent=False)

    def train_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        share = torch.distributions.Dirichlet(self.concentration, validate_args=False).sample().max()
        partner = torch.randperm(len(batch.index), generator=self.train_set.generator, device=batch.index.device)
        mixed = batch._replace(images=share * batch.images + (1 - share) * batch.images[partner])
        outputs = self.criterion.outputs(self.learner, mixed)
        own = self.objective(outputs, mixed)
        values = share * own + (1 - share) * self.objective(outputs, mixed._replace(labels=batch.labels[partner]))
        loss = self.criterion.mean(values, outputs, mixed)
        self.learner.update(loss)
        return StepResult(loss.detach(), batch.index, predicted=self._classes(outputs.logits.detach()).argmax(dim=1))
