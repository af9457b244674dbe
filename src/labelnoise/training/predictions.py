"""What a method predicts for its own training images, without augmentation, in the course of a run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from labelnoise.training.method import Method


@dataclass
class Predictions:
    """Predictions after each evaluated epoch, on the CPU. M is the number of images that the method trains on.

    Attributes:
        epochs: the epochs, from 1.
        given: for each of them (M,), float16, the probability of the image's given label.
        predicted: for each of them (M,), the most probable class: uint8, or int16 for more than 256 classes.
        last: (M, C), float16, the probabilities after the run's last epoch; empty before.
    """

    epochs: list[int] = field(default_factory=list)
    given: list[Tensor] = field(default_factory=list)
    predicted: list[Tensor] = field(default_factory=list)
    last: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float16))

    @torch.no_grad()
    def note(self, method: Method, epoch: int, after_batch: Callable[[], None] = lambda: None) -> None:
        """Add the predictions of the method as it is after an epoch (from 1).

        Args:
            after_batch: called after each batch; if it raises, nothing has been added.
        """
        method.eval()
        train, ends = method.train_set, epoch == method.clock.epochs
        small = torch.uint8 if train.num_classes <= 256 else torch.int16
        given, predicted, probs = [], [], []
        for index in torch.arange(len(train), device=train.labels.device).split(method.evaluated_together):
            of_batch = method.predict(train.plain(index)).float().softmax(dim=1)
            given.append(of_batch.gather(1, train.labels[index, None]).squeeze(1).half().cpu())
            predicted.append(of_batch.argmax(dim=1).to(small).cpu())
            if ends:
                probs.append(of_batch.half().cpu())
            after_batch()
        self.epochs.append(epoch)
        self.given.append(torch.cat(given))
        self.predicted.append(torch.cat(predicted))
        if ends:
            self.last = torch.cat(probs)

    def state_dict(self) -> dict[str, Any]:
        """As tensors and numbers, for a checkpoint."""
        stacked = {name: torch.stack(getattr(self, name)) for name in ("given", "predicted") if self.epochs}
        return {"epochs": self.epochs, "last": self.last, **stacked}

    @classmethod
    def of(cls, state: dict[str, Any]) -> "Predictions":
        """The predictions from their `state_dict()`."""
        given, predicted = (list(state[name].unbind()) if name in state else [] for name in ("given", "predicted"))
        return cls(list(state["epochs"]), given, predicted, state["last"])
