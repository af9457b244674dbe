"""Online subclass distillation: an image learns from the predictions for those most like it within its own class."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import NonNegative, Positive, checked
from labelnoise.losses.base import at_least_single
from labelnoise.training.method import Feed, Method, Setup, StepResult


def subclass_targets(features: Tensor, logits: Tensor, labels: Tensor, neighbours: int, temperature: float) -> Tensor:
    """The mean of softmax(z / T) over the images of the batch with the same label whose features are most alike.

    Fewer where a label has fewer other images; 0 for all classes where it has none. Alike is the cosine.

    Shapes: (B, D), (B, C), (B,) -> (B, C).
    """
    directions = F.normalize(at_least_single(features))
    alike = directions @ directions.T
    others = (labels[:, None] == labels) & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    nearest = alike.masked_fill(~others, -torch.inf).topk(min(neighbours, len(labels))).indices
    counted = others.gather(1, nearest).to(directions.dtype)
    soft = (at_least_single(logits) / temperature).softmax(dim=1)[nearest]
    return (counted[:, :, None] * soft).sum(dim=1) / counted.sum(dim=1, keepdim=True).clamp_min(1)


class OSKD(Method):
    """Minimise loss(z, y) + weight T^2 KL(t || softmax(z / T)), with t the `subclass_targets`, held fixed.

    The images most alike within a class stand for a subclass. Under label noise those of one label share its errors;
    the similarities, not the labels, then choose among them.

    Args:
        neighbours: >= 1, images that an image learns from.
        weight: >= 0.
        temperature: T, > 0.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Tzelepi, Passalis, Tefas 2021 (ICPR 2020), Efficient Online Subclass Knowledge Distillation for Image
        Classification. Reconstruction from the abstract: neighbours within the batch, their mean, and all values are
        ours.
    """

    @checked
    def __init__(
        self, setup: Setup, neighbours: Annotated[int, Ge(1)], weight: NonNegative, temperature: Positive
    ) -> None:
        super().__init__(setup)
        self.neighbours, self.weight, self.temperature = neighbours, weight, temperature
        self.learner = setup.make_learner()

    def train_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        logits, features = self.learner.with_features(batch.images)
        known = (features.detach(), logits.detach(), batch.labels)
        target = subclass_targets(*known, self.neighbours, self.temperature)
        of_subclass = self.weight * self.temperature**2 * self.divergence(target, logits)
        loss = self.loss(logits, batch.labels).mean() + of_subclass
        self.learner.update(loss)
        metrics = {"teacher_loss": of_subclass.detach()}
        return StepResult(loss.detach(), batch.index, predicted=logits.detach().argmax(dim=1), metrics=metrics)

    def divergence(self, target: Tensor, logits: Tensor) -> Tensor:
        """KL(t || softmax(z / T)), the mean over the batch; 0 for a target of zeros. Shapes: (B, C), (B, C) -> 0-d."""
        student = (at_least_single(logits) / self.temperature).log_softmax(dim=1)
        return (torch.special.xlogy(target, target) - target * student).sum(dim=1).mean()

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)
