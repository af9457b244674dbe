"""Co-teaching: two networks, each trained on the images on which the other has the smallest losses."""

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from labelnoise.arguments.ranges import Fraction, checked
from labelnoise.training.learner import Learners
from labelnoise.training.method import Feed, Judgement, Method, Setup, StepResult

ForgetRate = Annotated[float, Ge(0), Lt(1)] | None


def noise_rate(setup: Setup, option: str) -> float:
    """The share of wrong labels from the noise's transition matrix, classes equally weighted.

    The papers on small-loss selection assume it known. If the noise leaves some classes clean, it is below the rate
    within a class: for this reason JoCoR's released code halves the rate of CIFAR-10's asymmetric noise.

    Args:
        option: that gives the rate instead, for the message.
    Raises:
        ValueError: the data set has no true labels.
    """
    if setup.transition is None:
        raise ValueError(
            f"{option}=null: the share of wrong labels is not known without true labels; give {option}=..."
        )
    transition = setup.transition.double()  # the row of a class without images is 0
    return 1 - float(transition.diagonal().sum() / transition.sum())


def smallest(losses: Tensor, count: int | Tensor) -> Tensor:
    """A mask of the `count` smallest. Shapes: (B,) -> (B,) bool. A 0-d tensor as count stays on the device."""
    rank = losses.detach().argsort(stable=True).argsort(stable=True)
    return rank < count


def mean_of(losses: Tensor, chosen: Tensor) -> Tensor:
    """The mean over the chosen losses, 0 if there are none. Shapes: (B,), (B,) bool -> 0-d."""
    return torch.where(chosen, losses, 0.0).sum() / chosen.sum().clamp_min(1)


class CoTeaching(Method):
    """In each batch, each network selects its small-loss images, and the other network trains on them.

    Of a batch of B images, floor(R(t) B) are kept, at least one. The dropped share grows linearly over T_k epochs and
    then stays: 1 - R(t) = min(t / (T_k - 1), 1) forget_rate in epoch t = 1, 2, ... Predictions are the first
    network's, because the paper reports each network separately.

    Args:
        forget_rate: final dropped share of each batch, 0 to below 1; None: the noise rate, as in the paper.
        ramp: T_k as a fraction of the run, 0 to 1; 10 of 200 epochs in the paper.
    Raises:
        ValueError: a hyper-parameter out of range; or no forget_rate, and the noise rate is not known.
    Source: Han et al. 2018, arXiv:1804.06872, algorithm 1; R(t) and the rounding as in the released code.
    Differs: the released code divides the mean over the kept images by their number once more, which Adam undoes.
    """

    assumes = frozenset({"transition"})
    chosen: Tensor

    @checked
    def __init__(self, setup: Setup, forget_rate: ForgetRate, ramp: Fraction) -> None:
        super().__init__(setup)
        self.forget_rate = noise_rate(setup, "method.forget_rate") if forget_rate is None else forget_rate
        self.ramp = ramp
        self.both = Learners(setup.make_learner() for _ in range(2))
        self.remember("chosen")  # how often either network has chosen each image

    def remembered(self) -> float:
        """R(t), the share of each batch that is kept in the current epoch."""
        return 1 - self.clock.ramp(self.clock.epoch + 1, self.ramp) * self.forget_rate

    def feeds(self) -> list[Feed]:
        """Every image once; the step contains how many images of the batch are kept."""
        share = self.remembered()
        parts = self.train_set.order(self.clock.batch_size)
        return [Feed(("train", max(1, int(share * len(index)))), {"train": index}) for index in parts]

    def losses(self, logits: list[Tensor], labels: Tensor) -> list[Tensor]:
        """The losses (B,) that each network minimises, from the logits of both."""
        return [self.loss(one, labels) for one in logits]

    def choose(self, count: int, logits: list[Tensor], losses: list[Tensor]) -> list[Tensor]:
        """The images (B,) bool that each network passes to the other."""
        return [smallest(values, count) for values in losses]

    def train_step(self, feed: Feed, count: int) -> StepResult:
        index = feed.index["train"]
        batch = self.train_set.batch(index)
        logits = [learner(batch.images) for learner in self.both]
        losses = self.losses(logits, batch.labels)
        passed = self.choose(count, logits, losses)
        # each learns from the other's choice
        totals = [mean_of(losses[k], passed[1 - k]) for k in (0, 1)]
        for learner, total in zip(self.both, totals, strict=True):
            learner.update(total)
        self.chosen[index] += passed[0].float() + passed[1].float()
        return StepResult(totals[0].detach(), index, logits[0].detach().argmax(dim=1), passed[1])

    def predict(self, images: Tensor) -> Tensor:
        return self.both[0](images)

    def judgement(self) -> Judgement:
        """How often the two networks chose each image, relative to the image chosen most often."""
        return Judgement(self.chosen / self.chosen.max().clamp_min(1))
