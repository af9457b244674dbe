"""Distillation with a precise teacher and a student that may abstain."""

from typing import Annotated

from annotated_types import Gt, Le
from torch import Tensor

from labelnoise.arguments.ranges import Fraction, Positive, PositiveFraction, checked
from labelnoise.data.train_set import Batch
from labelnoise.distillation.kd import softened_divergence
from labelnoise.distillation.teaching import Lesson, Taught
from labelnoise.losses.base import at_least_single, of_label
from labelnoise.losses.gamblers import gambler
from labelnoise.training.learner import MakeNetwork
from labelnoise.training.method import Setup


def adjusted(taught: Tensor, labels: Tensor) -> Tensor:
    """The teacher's logits, with those of the given label and of the predicted class swapped.

    Shapes: (B, C), (B,) -> (B, C).
    """
    top = taught.argmax(dim=1, keepdim=True)
    of_top, of_given = taught.gather(1, top), of_label(taught, labels)[:, None]
    return taught.scatter(1, top, of_given).scatter(1, labels[:, None], of_top)


class KDGambler(Taught):
    """The student minimises (1 - weight) gambler(z, y) + weight T^2 KL(softmax(t / T) || softmax(z' / T)).

    z are the student's logits of the classes and of abstaining, z' those of the classes alone, t the teacher's. If
    `adjust` and the teacher does not predict the given label, its probabilities of the two classes are swapped first:
    that makes a teacher precise where the labels are right, and repeats them where they are wrong. The teacher
    minimises the loss of the run.

    The probability of abstaining orders the images: the record has the error of the share that it is smallest for
    (`risk_coverage`), and, with held-out images, the threshold up to which `coverage` of them are predicted.

    Args:
        first, teacher: as in `Taught`.
        weight: 0 to 1.
        temperature: T, > 0.
        o: the odds of the gambler's loss, > 1; should be at most C.
        adjust: see above.
        coverage: of the held-out images, above 0 and at most 1.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Xu, Pu, Zhao 2021 (ICPR 2020), Knowledge distillation with a precise teacher and prediction with abstention;
        the gambler's loss is that of Liu et al. 2019, arXiv:1907.00208. Reconstruction: how both losses are weighted,
        and the swap, are not certain.
    """

    @checked
    def __init__(
        self,
        setup: Setup,
        first: PositiveFraction,
        teacher: MakeNetwork | None,
        weight: Fraction,
        temperature: Positive,
        o: Annotated[float, Gt(1)],
        adjust: bool,
        coverage: Annotated[float, Gt(0), Le(1)],
    ) -> None:
        super().__init__(setup, first, teacher, extra_outputs=1)
        self.weight, self.temperature, self.o, self.adjust, self.coverage = weight, temperature, o, adjust, coverage

    def lesson(self, batch: Batch) -> Lesson:
        taught, logits = self.teacher.evaluated(batch.images), self.student(batch.images)
        target = adjusted(taught, batch.labels) if self.adjust else taught
        classes = logits[:, :-1]
        of_teacher = self.weight * softened_divergence(target, classes, self.temperature)
        loss = (1 - self.weight) * gambler(logits, batch.labels, self.o).mean() + of_teacher
        return Lesson(loss, of_teacher, classes, taught, target=target.argmax(dim=1))

    def abstention(self, images: Tensor) -> Tensor:
        return at_least_single(self.student(images)).softmax(dim=1)[:, -1]
