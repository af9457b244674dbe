"""DRPL: relabelling shows which labels are likely wrong; these images are then unlabelled ones, in two rounds."""

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import Fraction, NonNegative, Positive, PositiveFraction, checked
from labelnoise.estimates.beta_mixture import wrong_probability
from labelnoise.losses.base import log_probs
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.methods.refinery import entropy, prior_divergence
from labelnoise.training.method import Feed, Judgement, Method, Setup, StepResult
from labelnoise.training.schedules import multistep

RELABEL, WARM_1, ROUND_1, WARM_2, ROUND_2 = range(5)  # the stages; those of a warm-up may be empty


class DRPL(Method):
    """Three trainings, each of a new network, with the loss

        -sum_k s_k log p_k + alpha KL(uniform || mean p) + beta H(p).

    In the first, from `begin` on, every epoch sets the target s of each image to the mean of its predictions in the
    last `averaged` epochs. After it, and again after the second training, a beta mixture of the losses of the given
    labels says how likely each label is wrong. The images up to `threshold_1`, or `threshold_2`, are labelled. The
    others start with a random class as target, and every epoch sets it to their last prediction, except for a share
    `uniform` of them, drawn anew, which get the uniform distribution. The second and third training mix images and
    targets as mixup. Predictions come from the training passes, on augmented images that are not mixed.

    With a `warm_up`, the second and third training first see the labelled images only, and the first predictions of the
    others come from that network. The schedule then starts again.

    Memory: (epochs averaged + 1, N, C) floats. A step of the second and third training has two passes.

    Args:
        relabel, first: lengths of the first and second training, as fractions of the run; 130 and 175 of 605 epochs.
        begin, averaged: fractions of the run, in the first training; 70 and 10 epochs.
        warm_up: of each warm-up, as a fraction of the run; 0: none.
        alpha, beta: >= 0.
        threshold_1, threshold_2: probabilities, 0 to 1.
        uniform: 0 to 1.
        mix: of mixup's Beta distribution, > 0.
        milestones: for each of the three trainings, the fractions of it after which the learning rate is a tenth; null:
            the configured schedule runs over each.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: Ortego, Arazo, Albert, O'Connor, McGuinness 2020, arXiv:1912.08741, and its released code, which trains a
        warm-up of 10 epochs but never loads it: as with a warm_up of 0.
    Differs: the losses for the mixture and the predictions after a warm-up are of images without augmentation; batches
        of fewer than 6 images are not left out; the loss is lower by the constant alpha log C.
    """

    target: Tensor
    wrong: Tensor
    past: Tensor
    concentration: Tensor

    @checked
    def __init__(
        self,
        setup: Setup,
        relabel: PositiveFraction,
        first: PositiveFraction,
        begin: PositiveFraction,
        averaged: PositiveFraction,
        warm_up: Fraction,
        alpha: NonNegative,
        beta: NonNegative,
        threshold_1: Fraction,
        threshold_2: Fraction,
        uniform: Fraction,
        mix: Positive,
        milestones: Sequence[Sequence[Annotated[float, Gt(0), Lt(1)]]] | None,
    ) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=drpl")
        if milestones is not None and len(milestones) != 3:
            raise ValueError(f"method.milestones={list(milestones)}: must be three lists, such as [[0.5],[0.5],[0.5]]")
        self.alpha, self.beta, self.uniform = alpha, beta, uniform
        self.thresholds = threshold_1, threshold_2
        self.milestones, self.begin = milestones, self.clock.length(begin)
        self.stages = self.clock.stages(relabel, warm_up, first, warm_up)
        schedule = None if milestones is None else self.rate
        self.learner = setup.make_learner(during=self.stages[RELABEL], schedule=schedule)
        count, classes = len(setup.train), setup.train.num_classes
        self.remember("target", (classes,), F.one_hot(setup.train.labels, classes))
        self.remember("wrong")  # how likely each label is wrong
        # a ring buffer with the predictions of the last epochs; after the first training its first place is the last's
        self.register_buffer("past", torch.zeros(self.clock.length(averaged), count, classes))
        self.register_buffer("concentration", torch.full((2,), float(mix)), persistent=False)

    def rate(self, epoch: int, epochs: int) -> float:
        """The factor on the learning rate in a stage, by the milestones."""
        stage = self.stage
        if self.milestones is None or stage in (WARM_1, WARM_2):
            return 1.0
        passed = [max(1, round(fraction * epochs)) for fraction in self.milestones[(stage + 1) // 2]]
        return multistep(epoch, epochs, passed, 0.1)

    @property
    def labelled(self) -> Tensor:
        """Which images count as labelled. Shapes: -> (N,), bool."""
        return self.wrong <= self.thresholds[self.stage in (WARM_2, ROUND_2)]

    def begin_epoch(self) -> None:
        """Enter a stage, and set the targets of the epoch."""
        stage, epoch = self.stage, self.clock.epoch
        if stage == RELABEL:
            if epoch >= self.begin:
                self.target.copy_(self.past[:epoch].mean(dim=0))
            return
        if epoch == self.stages[stage].start:
            self._enter(stage)
        if stage in (ROUND_1, ROUND_2):
            self._set_targets()

    def _enter(self, stage: int) -> None:
        during = self.stages[stage]
        if stage in (ROUND_1, ROUND_2) and self.stages[stage - 1]:  # after a warm-up: its network, a new optimizer
            self.past[0] = self.score(lambda index, images, labels: log_probs(self.learner(images)).exp())
            self.learner.during = during
            self.learner.optimizer.state.clear()
            self.learner.begin_epoch(during.start)
            return
        losses = self.score(lambda index, images, labels: self.loss(self.learner(images), labels))
        self.wrong.copy_(wrong_probability(losses))
        labels, classes = self.train_set.labels, self.train_set.num_classes
        guess = torch.randint(classes, labels.shape, generator=self.train_set.generator, device=labels.device)
        self.past[0] = F.one_hot(guess, classes)
        self.target.copy_(F.one_hot(labels, classes))
        self.learner.restart(during)

    def _set_targets(self) -> None:
        """The label of a labelled image; of the others the last prediction, or the uniform distribution."""
        labels, classes = self.train_set.labels, self.train_set.num_classes
        self.target.copy_(torch.where(self.labelled[:, None], F.one_hot(labels, classes), self.past[0]))
        if self.clock.epoch > self.stages[self.stage].start or self.stages[self.stage - 1]:
            rest = (~self.labelled).nonzero().flatten()
            order = torch.randperm(len(rest), generator=self.train_set.generator, device=rest.device)
            self.target[rest[order[: int(len(rest) * self.uniform)]]] = 1 / classes

    def feeds(self) -> list[Feed]:
        """Every image once, in a warm-up every labelled one; in the first training the step has its place in `past`."""
        if self.stage == RELABEL:
            return self.every_image("relabel", self.clock.epoch % len(self.past))
        among = self.labelled.nonzero().flatten() if self.stage in (WARM_1, WARM_2) else None
        if among is not None and len(among) < 2:
            among = None
        order = self.train_set.order(self.clock.batch_size, among)
        return [Feed(("mix", int(self.stage in (WARM_2, ROUND_2))), {"train": index}) for index in order]

    def relabel_step(self, feed: Feed, place: int) -> StepResult:
        index = feed.index["train"]
        target = self.target[index]
        logs = log_probs(self.learner(self.train_set.view(index)))
        self.past[place, index] = logs.detach().exp().to(self.past.dtype)
        return self._update(index, logs, target, logs.detach(), target.argmax(dim=1), None)

    def mix_step(self, feed: Feed, second: int) -> StepResult:
        index = feed.index["train"]
        images, target, labels = self.train_set.view(index), self.target[index], self.train_set.labels[index]
        labelled = self.wrong[index] <= self.thresholds[second]
        towards = torch.where(labelled, labels, self.past[0, index].argmax(dim=1))
        with torch.no_grad():
            alone = log_probs(self.learner(images))
        self.past[0, index] = alone.exp().to(self.past.dtype)
        share = torch.distributions.Dirichlet(self.concentration, validate_args=False).sample()[0]
        partner = torch.randperm(len(index), generator=self.train_set.generator, device=index.device)
        logs = log_probs(self.learner(share * images + (1 - share) * images[partner]))
        mixed = share * target + (1 - share) * target[partner]
        return self._update(index, logs, mixed, alone, towards, labelled)

    def _update(
        self, index: Tensor, logs: Tensor, target: Tensor, alone: Tensor, towards: Tensor, labelled: Tensor | None
    ) -> StepResult:
        loss = -(target * logs).sum(dim=1).mean()
        loss = loss + self.alpha * prior_divergence(logs) + self.beta * entropy(logs)
        self.learner.update(loss)
        return StepResult(loss.detach(), index, alone.argmax(dim=1), labelled, towards)

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)

    def judgement(self) -> Judgement:
        """In the first training by the targets; later by the mixture, and the last predictions of unlabelled images."""
        labels = self.train_set.labels
        if self.stage == RELABEL:
            return Judgement.of_target(self.target, labels)
        return Judgement(1 - self.wrong, torch.where(self.labelled, labels, self.past[0].argmax(dim=1)))
