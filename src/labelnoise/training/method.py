"""The interface of a method: how it sees the training set and what the trainer asks of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from labelnoise.data.train_set import Batch, TrainSet
from labelnoise.training.learner import Learner

LossFunction = Callable[[Tensor, Tensor], Tensor]


class Method(nn.Module, ABC):
    """A way to train with noisy labels. What it remembers of each image is a buffer (N, ...): `state_dict()` is all of
    its state, so that a run that was stopped goes on exactly.

    Args:
        make_learner: makes a network with its optimizer; the only source of either.
        loss: `(logits (B, C), labels (B,)) -> (B,)`.
        train: images and noisy labels.
    """

    def __init__(self, make_learner: Callable[[], Learner], loss: LossFunction, train: TrainSet) -> None:
        super().__init__()
        self.loss, self.train_set = loss, train

    def begin_epoch(self, epoch: int) -> None:
        """Before the first batch of an epoch (from 0)."""
        for learner in self.children():
            if isinstance(learner, Learner):
                learner.begin_epoch(epoch)

    def order(self, size: int) -> list[Tensor]:
        """The index (B,) of each batch of one epoch, drawn before its first step."""
        return self.train_set.order(size)

    def batch(self, index: Tensor) -> Batch:
        """What `step` is given for an index: a part of the step, so that a GPU runs both as one."""
        return self.train_set.batch(index)

    @abstractmethod
    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update. Returns detached tensors on the device and never waits for it.

        `loss` (0-d) is the mean over the batch. Optional, and only for the trainer's diagnostics: `predicted` (B,), the
        class predicted for each image, and `selected` (B,), bool, the images that the step trained on.
        """

    @abstractmethod
    def predict(self, images: Tensor) -> Tensor:
        """Logits for evaluation. Shapes: (B, channels, H, W) -> (B, C)."""

    @property
    def network(self) -> nn.Module:
        """The network that `predict` uses, for saving."""
        return next(child.network for child in self.children() if isinstance(child, Learner))
