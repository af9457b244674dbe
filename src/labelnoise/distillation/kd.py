"""Knowledge distillation: the student learns the teacher's softened predictions."""

from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import Fraction, Positive, PositiveFraction, checked
from labelnoise.data.train_set import Batch
from labelnoise.distillation.teaching import Lesson, Taught
from labelnoise.losses.base import at_least_single
from labelnoise.training.learner import MakeNetwork
from labelnoise.training.method import Setup


def softened_divergence(taught: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(t / T) || softmax(z / T)), the mean over the batch.

    For a large T and logits of mean 0 this is sum_k (z_k - t_k)^2 / (2 C).

    Shapes: t (B, C), z (B, C) -> 0-d, in nats.
    """
    teacher, student = ((at_least_single(z) / temperature).log_softmax(dim=1) for z in (taught, logits))
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


class KD(Taught):
    """The student minimises (1 - weight) loss(z, y) + weight T^2 KL(softmax(t / T) || softmax(z / T)).

    z are the student's logits and t the teacher's, for the same view of an image.

    Args:
        first, teacher: as in `Taught`.
        weight: 0 to 1.
        temperature: T, > 0.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Hinton, Vinyals, Dean 2015, arXiv:1503.02531, section 2. Under label noise, with a teacher trained on the
        same labels: Sarfraz, Arani, Zonooz 2020, arXiv:2007.01922, whose values are not known.
    """

    @checked
    def __init__(
        self,
        setup: Setup,
        first: PositiveFraction,
        teacher: MakeNetwork | None,
        weight: Fraction,
        temperature: Positive,
    ) -> None:
        super().__init__(setup, first, teacher)
        self.weight, self.temperature = weight, temperature

    def lesson(self, batch: Batch) -> Lesson:
        taught, logits = self.teacher.evaluated(batch.images), self.student(batch.images)
        of_teacher = self.weight * softened_divergence(taught, logits, self.temperature)
        loss = (1 - self.weight) * self.loss(logits, batch.labels).mean() + of_teacher
        return Lesson(loss, of_teacher, logits, taught, target=taught.argmax(dim=1))
