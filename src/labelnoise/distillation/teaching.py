"""A teacher is trained first, on the noisy labels; then a student learns from it: what these methods share."""

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labelnoise.arguments.ranges import PositiveFraction
from labelnoise.data.train_set import Batch
from labelnoise.losses.base import log_probs
from labelnoise.training.learner import Learner, MakeNetwork
from labelnoise.training.method import Feed, Judgement, Method, Predict, Setup, StepResult

Size = tuple[int, int]


class Lesson(NamedTuple):
    """What the student makes of a batch.

    Attributes:
        loss: 0-d, to minimise.
        of_teacher: 0-d, the teacher's part of the loss.
        logits: (B, C), the student's.
        taught: (B, C), the teacher's logits.
        target: (B,), the class that each image is trained towards, if it may differ from the given label.
        step: 0-d, minimised in place of the loss, if it is not None.
    """

    loss: Tensor
    of_teacher: Tensor
    logits: Tensor
    taught: Tensor
    target: Tensor | None = None
    step: Tensor | None = None


class Taught(Method):
    """In the first stage the teacher minimises the loss. In the second one the student learns a `lesson` in each step.

    The teacher sees the student's view of an image, in evaluation mode. The judgement is the teacher's: what it last
    predicted for an image, while it was trained on a view of it or taught it.

    Memory: (N, C) floats.

    Args:
        first: length of the first stage, as a fraction of the run; the learning rate's schedule runs over each stage.
        teacher: `(num_classes, channels, size) -> network`; None: the run's network.
        extra_outputs: of the student, beyond one for each class.
    Raises:
        ValueError: a run of one epoch.
    """

    belief: Tensor

    def __init__(
        self, setup: Setup, first: PositiveFraction, teacher: MakeNetwork | None, extra_outputs: int = 0
    ) -> None:
        super().__init__(setup)
        self.stages = self.clock.trainings(first)
        self.student = setup.make_learner(during=self.stages[1], extra_outputs=extra_outputs)
        self.teacher = setup.make_learner(network=teacher, during=self.stages[0])
        classes = setup.train.num_classes
        self.remember("belief", (classes,), 1 / classes)

    @abstractmethod
    def lesson(self, batch: Batch) -> Lesson:
        """The student's lesson on a batch."""

    def feeds(self) -> list[Feed]:
        return self.every_image("teach" if self.stage == 0 else "learn")

    def teach_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        logits = self.teacher(batch.images)
        loss = self.loss(logits, batch.labels).mean()
        self.teacher.update(loss)
        self._note(batch.index, logits.detach())
        return StepResult(loss.detach(), batch.index, logits.detach().argmax(dim=1))

    def learn_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        lesson = self.lesson(batch)
        self.student.update(lesson.loss if lesson.step is None else lesson.step)
        self._note(batch.index, lesson.taught)
        metrics = {"teacher_loss": lesson.of_teacher.detach()}
        predicted = lesson.logits.detach().argmax(dim=1)
        return StepResult(lesson.loss.detach(), batch.index, predicted, target=lesson.target, metrics=metrics)

    def _note(self, index: Tensor, logits: Tensor) -> None:
        self.belief[index] = log_probs(logits).exp().to(self.belief.dtype)

    def predict(self, images: Tensor) -> Tensor:
        return self.student(images)[:, : self.train_set.num_classes]

    def apart(self) -> dict[str, Predict]:
        return {"teacher": self.teacher}

    def judgement(self) -> Judgement:
        return Judgement.of_target(self.belief, self.train_set.labels)


class TaughtByLayers(Taught):
    """The student minimises loss(z, y) + a distance between both networks' activations.

    Raises:
        ValueError: before the first step, networks between whose activations there is no such distance.
    """

    @abstractmethod
    def distance(self, taught: "Layers", own: "Layers") -> Tensor:
        """The teacher's part of the loss, weighted: 0-d."""

    def begin_epoch(self) -> None:
        if self.clock.epoch == 0:  # not after the teacher's training
            if not all(callable(getattr(one.network, "features", None)) for one in (self.teacher, self.student)):
                raise ValueError("network: must have features(images) -> (B, D), which the method compares")
            images = self.train_set.plain(torch.arange(2, device=self.train_set.labels.device))
            self.distance(*(evaluated_layers(learner, images) for learner in (self.teacher, self.student)))

    def lesson(self, batch: Batch) -> Lesson:
        taught, own = evaluated_layers(self.teacher, batch.images), layers(self.student, batch.images)
        of_teacher = self.distance(taught, own)
        loss = self.loss(own.logits, batch.labels).mean() + of_teacher
        return Lesson(loss, of_teacher, own.logits, taught.logits)


class Layers(NamedTuple):
    """A network's outputs, in float32 or float64.

    Attributes:
        logits: (B, C).
        features: (B, D), penultimate.
        maps: (H, W) -> (B, channels, H, W), the last activations of each resolution above 1x1, in order.
    """

    logits: Tensor
    features: Tensor
    maps: dict[Size, Tensor]


def layers(learner: Learner, images: Tensor) -> Layers:
    """A network's outputs within it, for a step. Shapes: (B, channels, H, W)."""
    found: list[Tensor] = []

    def note(module: nn.Module, given: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2:].numel() > 1:
            found.append(output)

    # a convolution's output is not an activation yet
    parts = [part for part in learner.network.modules() if not isinstance(part, nn.Conv2d)]
    hooks = [part.register_forward_hook(note) for part in parts]
    try:
        logits, features = learner.with_features(images)
    finally:
        for hook in hooks:
            hook.remove()
    maps: dict[Size, Tensor] = {}
    for output in found:
        maps[output.shape[2], output.shape[3]] = _single(output)
    return Layers(_single(logits), _single(features), maps)


@torch.no_grad()
def evaluated_layers(learner: Learner, images: Tensor) -> Layers:
    """`layers` as in evaluation, without gradients, also in the middle of a step: as a teacher's."""
    training = learner.training
    learner.eval()
    found = layers(learner, images)
    learner.train(training)
    return found


def _single(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
