"""ILI: again and again a new network is trained, and its predictions replace the labels; also in two halves, opILI."""

from dataclasses import replace
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_probs
from labelnoise.methods.erm import ERM
from labelnoise.training.method import Feed, Judgement, Setup, StepResult


class ILI(ERM):
    """A part of the images is kept for validation, with the labels as given. The labels of the others are improved in
    rounds: a new network is trained on them, then the label of each image whose largest probability is above
    `threshold` becomes that class. The rounds end when the accuracy on the validation part is below those of both
    rounds before; the labels then stay as the last network found them, and the rest of the run trains a new network on
    them.

    With `halves`, a round has two trainings: a network of the first half of the images relabels the second half, then
    a new network of the second half relabels the first one. The accuracy is that of the round's first network. After
    the rounds a new network is trained on both halves.

    All trainings of a run are equally long, until the rounds end. If it has fewer epochs than trainings, it has fewer
    rounds.

    Args:
        rounds: at most, >= 1.
        threshold: of the probability, from 0 on and below 1; 0: every label is replaced.
        validation: share of the images, above 0 and below 1.
        halves: whether each half is relabelled by the other's network.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Haase-Schuetz, Stal, Hertlein, Sick 2020, arXiv:2002.02705, and its released code: confidence and plain mode
        of ILI and opILI.
    Differs: the released ILI ends with the last round's network. Here a run has a fixed number of epochs, so those that
        are left train a new one on the same labels.
    """

    label: Tensor
    accuracy: Tensor
    ended: Tensor

    @checked
    def __init__(
        self,
        setup: Setup,
        rounds: Annotated[int, Ge(1)],
        threshold: Annotated[float, Ge(0), Lt(1)],
        validation: Annotated[float, Gt(0), Lt(1)],
        halves: bool,
    ) -> None:
        super().__init__(setup)
        self.threshold, self.validation, self.halves = threshold, validation, halves
        count = 2 * min(rounds, (self.clock.epochs - 1) // 2) + 1 if halves else min(rounds, self.clock.epochs)
        self.stages = self.clock.stages(*[1 / count] * (count - 1))
        self.learner.during = self.stages[0]
        self.remember("label", start=setup.train.labels, dtype=torch.long)
        self.register_buffer("accuracy", torch.zeros(3))  # on the validation part, of the last three rounds
        self.register_buffer("ended", torch.zeros((), dtype=torch.bool))  # whether the rounds have

    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The first half of the images, the second one, and the validation part; without halves the second is empty."""
        from sklearn.model_selection import train_test_split

        seed = self.train_set.generator.initial_seed() % 2**32
        used, held_out = train_test_split(range(len(self.train_set)), test_size=self.validation, random_state=seed)
        first, second = train_test_split(used, test_size=0.5, random_state=seed) if self.halves else (used, [])
        indices = (torch.tensor(part, dtype=torch.long) for part in (first, second, held_out))
        first, second, held_out = (index.to(self.train_set.labels.device) for index in indices)
        return first, second, held_out

    def begin_epoch(self) -> None:
        """Where a training has ended: relabel, unless the rounds end, and start a new network."""
        stage, epoch = self.stage, self.clock.epoch
        if stage == 0 or epoch != self.stages[stage].start or self.ended:
            return
        first, second, held_out = self.parts()
        probs = self.score(self._predicted)
        of_second = self.halves and stage % 2 == 0  # the network that has just been trained
        if not of_second:
            right = probs[held_out].argmax(dim=1) == self.train_set.labels[held_out]
            self.accuracy.copy_(torch.stack([*self.accuracy[1:], right.to(self.accuracy.dtype).mean()]))
        falls = bool((self.accuracy[2] < self.accuracy[:2]).all())
        if not falls or self.halves:
            self.relabel(second if self.halves and not of_second else first, probs)
        if falls and self.halves == of_second:
            self.ended.fill_(True)
        self.learner.restart(range(epoch, self.clock.epochs) if self.ended else self.stages[stage])

    def _predicted(self, index: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        return log_probs(self.predict(images)).exp()

    def relabel(self, index: Tensor, probs: Tensor) -> None:
        """Replace the labels of these images (M,) by confident predictions. Shapes: (M,), (N, C)."""
        confidence, predicted = probs[index].max(dim=1)
        self.label[index] = torch.where(confidence > self.threshold, predicted, self.label[index])

    def feeds(self) -> list[Feed]:
        first, second, _ = self.parts()
        stage = self.stage
        among = second if self.halves and stage % 2 else first
        if stage == len(self.stages) - 1 or (stage > 0 and self.ended):
            among = torch.cat([first, second])
        step = ("train", int(stage > 0))
        return [Feed(step, {"train": index}) for index in self.train_set.order(self.clock.batch_size, among)]

    def train_step(self, feed: Feed, relabelled: int = 0) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        target = self.label[batch.index]
        batch = batch._replace(labels=target)
        metrics = {"noisy_val_acc": self.accuracy[2].clone()} if relabelled else {}
        return replace(self.learn(batch), target=target, metrics=metrics)

    def judgement(self) -> Judgement:
        return Judgement((self.label == self.train_set.labels).float(), self.label)
