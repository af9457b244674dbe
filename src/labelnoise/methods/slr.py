"""SLR: soft labels move towards predictions of networks that did not see the image. A reconstruction."""

from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import Fraction, checked
from labelnoise.losses.base import log_probs
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.method import Feed, Judgement, Method, Setup, StepResult


class SLR(Method):
    """Each image has a soft target q, which starts as its label. In each round the images are split at random into
    folds. For each fold, a new network trains on the other folds with the loss -sum_k q_k log p_k, and predicts the
    fold that was left out. After the last fold of a round, all targets move:

        q <- (1 - rate) q + rate p.

    After the last round a new network trains on all images. A run has folds * rounds + 1 trainings; all but the last
    are equally long. If a run has fewer epochs than that, it has fewer rounds.

    Memory: twice (N, C) floats.

    Args:
        folds: number of parts, at least 2.
        rounds: how often the targets move, >= 1.
        rate: how far the targets move, 0 to 1.
        last: length of the last training, as a fraction of the run.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: a reconstruction of Fang, Yang, Ni 2020 (ICPR), Stochastic Label Refinery, from its abstract: networks on
        random splits, which predict what was left out, in place of the E step. The form of the update, the values and
        the last training are chosen here.
    """

    target: Tensor
    guess: Tensor

    @checked
    def __init__(
        self,
        setup: Setup,
        folds: Annotated[int, Ge(2)],
        rounds: Annotated[int, Ge(1)],
        rate: Fraction,
        last: Annotated[float, Gt(0), Lt(1)],
    ) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=slr")
        self.folds, self.rate = folds, rate
        count = folds * min(rounds, (self.clock.epochs - 1) // folds)
        self.stages = self.clock.stages(*[(1 - last) / count] * count if count else [])
        self.learner = setup.make_learner(during=self.stages[0])
        classes = setup.train.num_classes
        self.remember("target", (classes,), F.one_hot(setup.train.labels, classes))
        self.remember("guess", (classes,))  # p, by the round's network that did not see the image

    def begin_epoch(self) -> None:
        """Where a training has ended: predict what it left out, move the targets after a round, start a new network."""
        stage = self.stage
        if stage == 0 or self.clock.epoch != self.stages[stage].start:
            return
        left_out = self.split(stage - 1)[1]
        self.guess[left_out] = self.score(self._predicted)[left_out].to(self.guess.dtype)
        if stage % self.folds == 0:
            self.target.lerp_(self.guess, self.rate)
        self.learner.restart(during=self.stages[stage])

    def _predicted(self, index: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        return log_probs(self.learner(images)).exp()

    def split(self, stage: int) -> tuple[Tensor, Tensor]:
        """The images on which a stage but the last trains, and those that it leaves out. Shapes: -> (M,), (N - M,)."""
        from sklearn.model_selection import KFold

        number, fold = divmod(stage, self.folds)
        seed = (self.train_set.generator.initial_seed() + number) % 2**32
        parts = list(KFold(self.folds, shuffle=True, random_state=seed).split(range(len(self.train_set))))[fold]
        used, left_out = (torch.tensor(part, device=self.train_set.labels.device) for part in parts)
        return used, left_out

    def feeds(self) -> list[Feed]:
        among = self.split(self.stage)[0] if self.stage < len(self.stages) - 1 else None
        return [Feed(("train",), {"train": index}) for index in self.train_set.order(self.clock.batch_size, among)]

    def train_step(self, feed: Feed) -> StepResult:
        index = feed.index["train"]
        target = self.target[index]
        logs = log_probs(self.learner(self.train_set.view(index)))
        loss = -(target * logs).sum(dim=1).mean()
        self.learner.update(loss)
        return StepResult(loss.detach(), index, logs.detach().argmax(dim=1), target=target.argmax(dim=1))

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)

    def judgement(self) -> Judgement:
        return Judgement.of_target(self.target, self.train_set.labels)
