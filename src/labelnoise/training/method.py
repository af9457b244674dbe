"""The seam between the trainer and a method: what a method is made of, what a step is told and what it returns."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from labelnoise.data.train_set import TrainSet
from labelnoise.training.clock import Clock
from labelnoise.training.learner import Learner, MakeLearner

LossFunction = Callable[..., Tensor]
Regulariser = Callable[..., Tensor]
Score = Callable[[Tensor, Tensor, Tensor], Tensor]

SCORE_BATCH = 1000  # images


class Setup(NamedTuple):
    """What every method is made of.

    Attributes:
        make_learner: makes a network with its optimizer; the only source of either.
        loss: `(logits (B, C), labels (B,)) -> (B,)`, per sample.
        train: images and noisy labels, and `train.trusted`, a small set with true labels, or None.
        clock: the epoch under way, the length of the run, the batch size.
        regulariser: a penalty that depends on the outputs, `(logits=, features=, labels=) -> 0-d` as it needs; or None.
            One of the weights alone is the learners' affair.
        transition: (C, C), the noise's own transition matrix, rows the true class, for methods that are given it; None
            where it is not known.
    """

    make_learner: MakeLearner
    loss: LossFunction
    train: TrainSet
    clock: Clock
    regulariser: Regulariser | None = None
    transition: Tensor | None = None


class Feed(NamedTuple):
    """One step's input, plain data: what is done, and on which images. A checkpoint holds those of its epoch.

    Attributes:
        kind: what the step does, such as ("train",) or ("mix", 1). All that makes one step differ from another, but for
            tensors, is in here: a GPU captures one graph for each kind and size.
        index: (B,) each, positions in the training set by their role, such as train, labelled and unlabelled; those of
            `trusted` are positions in the trusted set.
    """

    kind: tuple[str | int, ...]
    index: dict[str, Tensor]  # type: ignore[assignment]  # the field's name; a tuple's own index() is not used


@dataclass
class StepResult:
    """What a step returns: detached tensors on the device.

    Attributes:
        loss: 0-d, the mean over the step's images.
        index: (B,), the training images that the next three speak of; a step on no particular image gives none.
        predicted: (B,), the class that the network predicts for each.
        selected: (B,), bool, which of them the step trained on as labelled.
        target: (B,), the class that the step trained each towards, where that may differ from the given label.
        metrics: 0-d each, further means over the step's images, by their names in the history.
    """

    loss: Tensor
    index: Tensor | None = None
    predicted: Tensor | None = None
    selected: Tensor | None = None
    target: Tensor | None = None
    metrics: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Audit:
    """What a method thinks of the given labels.

    Attributes:
        clean: (N,), the probability, or any score that grows with it, that each given label is right.
        proposed: (N,), the label that it would give, or None.
    """

    clean: Tensor
    proposed: Tensor | None = None


class Method(nn.Module, ABC):
    """A way to train with noisy labels.

    What it remembers of each image is a buffer (N, ...), and of the run any buffer: `state_dict()` is all of its state,
    with which a stopped run resumes exactly. It draws from `train.generator` and torch's default generator alone.

    Attributes:
        provides: of what a loss or regulariser may need beyond logits and labels (`losses.base.needs`), what this
            method gives it: `criterion.PROVIDED` if it trains by a `Criterion`.
    """

    provides: frozenset[str] = frozenset()

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.make_learner, self.loss, self.train_set, self.clock, self.regulariser, self.transition = setup

    def begin_epoch(self) -> None:
        """Once before an epoch's feeds are drawn, on the host: fit a mixture, enter a stage."""

    def feeds(self) -> list[Feed]:
        """The steps of the epoch under way, in their order. By default every image once."""
        return [Feed(("train",), {"train": index}) for index in self.train_set.order(self.clock.batch_size)]

    @abstractmethod
    def step(self, feed: Feed) -> StepResult:
        """One update. It depends on the feed and on tensors alone, and never waits for the device."""

    @abstractmethod
    def predict(self, images: Tensor) -> Tensor:
        """Logits for evaluation. Shapes: (B, channels, H, W) -> (B, C)."""

    def audit(self) -> Audit | None:
        """What the method thinks of the given labels after the epochs so far; None where it does not judge them."""
        return None

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """As torch's, for buffers whose length is not what it was when the method was made, too."""
        for name, buffer in self._buffers.items():
            saved = state.get(prefix + name)
            if buffer is not None and saved is not None and saved.shape != buffer.shape:
                self._buffers[name] = buffer.new_empty(saved.shape)
        super()._load_from_state_dict(state, prefix, *rest)

    def learners(self) -> list[Learner]:
        """Every learner, wherever it stands in the method."""
        return [module for module in self.modules() if isinstance(module, Learner)]

    @property
    def network(self) -> nn.Module:
        """The network to save: the first learner's."""
        return self.learners()[0].network

    @torch.no_grad()
    def score(self, function: Score) -> Tensor:
        """A function of every training image, without augmentation, in evaluation mode, without gradients.

        Args:
            function: `(index (B,), images (B, channels, H, W), labels (B,)) -> (B, ...)`.
        Returns:
            (N, ...).
        """
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        everyone = torch.arange(len(self.train_set), device=self.train_set.labels.device)
        parts = [function(i, self.train_set.plain(i), self.train_set.labels[i]) for i in everyone.split(SCORE_BATCH)]
        for module, mode in modes:
            module.training = mode
        return torch.cat(parts)
