"""FL-select: a network of a few trusted images shows which losses clean images have, and the others are left out."""

from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.estimates.closest_part import closest_part
from labelnoise.losses.base import log_prob_of_label
from labelnoise.methods.erm import ERM
from labelnoise.training.method import Feed, Judgement, Setup, StepResult


class FLSelect(ERM):
    """First a benchmark network trains on a part of the trusted images, with as many steps in an epoch as the training
    set has. The cross-entropies of the other trusted images then show how the losses of clean images are distributed.
    The training images are kept whose losses are below the threshold that makes their distribution closest to it
    (Kolmogorov-Smirnov), and a new network trains on these.

    Args:
        benchmark: length of the first training, as a fraction of the run, above 0 and below 1.
        held_out: share of the trusted images that the benchmark network does not see, above 0 and below 1.
    Raises:
        ValueError: a hyper-parameter out of range, a run of one epoch, or too few trusted images.
    Source: Tuor, Wang, Ko, Liu, Leung 2020, arXiv:2001.08300, section III, for one client instead of many.
        Reconstruction: the selection is the paper's; lengths and shares are ours.
    """

    misfit: Tensor
    kept: Tensor
    threshold: Tensor

    @checked
    def __init__(
        self, setup: Setup, benchmark: Annotated[float, Gt(0), Lt(1)], held_out: Annotated[float, Gt(0), Lt(1)]
    ) -> None:
        super().__init__(setup)
        if setup.train.trusted is None:
            raise ValueError("num_trusted=0: method=fl_select needs images with true labels, such as num_trusted=100")
        self.trusted, self.held_out = setup.train.trusted, held_out
        if round(held_out * len(self.trusted)) not in range(1, len(self.trusted)):
            few = f"num_trusted={len(self.trusted)} method.held_out={held_out:g}"
            raise ValueError(f"{few}: must leave at least one image to train the benchmark network and one to judge by")
        self.stages = self.clock.trainings(benchmark)
        self.learner.during = self.stages[0]
        self.remember("misfit")  # the loss of the benchmark network
        self.remember("kept", dtype=torch.bool)
        self.register_buffer("threshold", torch.zeros(()))

    def parts(self) -> tuple[Tensor, Tensor]:
        """The trusted images on which the benchmark network trains, and the others."""
        from sklearn.model_selection import train_test_split

        seed = self.train_set.generator.initial_seed() % 2**32
        judging = round(self.held_out * len(self.trusted))
        parts = train_test_split(range(len(self.trusted)), test_size=judging, random_state=seed)
        used, others = (torch.tensor(part, device=self.train_set.labels.device) for part in parts)
        return used, others

    def begin_epoch(self) -> None:
        """After the first training: choose the images, and start a new network."""
        if self.clock.epoch != self.stages[1].start:
            return
        self.misfit.copy_(self.score(lambda index, images, labels: self._loss(images, labels)))
        _, others = self.parts()
        known = [
            self._loss(self.trusted.plain(index), self.trusted.labels[index])
            for index in others.split(self.evaluated_together)
        ]
        self.threshold.fill_(closest_part(self.misfit, torch.cat(known)))
        self.kept.copy_(self.misfit <= self.threshold)
        self.learner.restart(during=self.stages[1])

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The cross-entropy in evaluation (B,)."""
        return -log_prob_of_label(self._classes(self.learner.evaluated(images)), labels)

    def feeds(self) -> list[Feed]:
        size = self.clock.batch_size
        if self.stage == 0:
            used, count = self.parts()[0], max(len(self.train_set) // size, 1)
            batches: list[Tensor] = []
            while len(batches) < count:
                batches += self.trusted.order(size, used)
            return [Feed(("benchmark",), {"trusted": index}) for index in batches[:count]]
        batches = self.train_set.order(size, self.kept.nonzero().squeeze(1))
        # only told: that these were not selected
        others = (~self.kept).nonzero().squeeze(1).tensor_split(len(batches))
        return [Feed(("train",), {"train": i, "left_out": o}) for i, o in zip(batches, others, strict=True)]

    def benchmark_step(self, feed: Feed) -> StepResult:
        return StepResult(self.learn(self.trusted.batch(feed.index["trusted"])).loss)

    def train_step(self, feed: Feed) -> StepResult:
        result, others = super().train_step(feed), feed.index["left_out"]
        assert result.index is not None
        assert result.predicted is not None
        index = torch.cat([result.index, others])
        predicted = torch.cat([result.predicted, torch.full_like(others, -1)])
        metrics = {"threshold": self.threshold.clone()}
        return StepResult(result.loss, index, predicted, selected=self.kept[index], metrics=metrics)

    def judgement(self) -> Judgement:
        """The benchmark network's losses, once it has been trained."""
        return Judgement(-self.misfit)
