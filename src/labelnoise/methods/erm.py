"""Empirical risk minimisation: one network trained on the mean of the loss, as every robust loss is used."""

from collections.abc import Callable

from torch import Tensor

from labelnoise.data.train_set import Batch, TrainSet
from labelnoise.training.learner import Learner
from labelnoise.training.method import LossFunction, Method


class ERM(Method):
    """Minimise the mean loss over each batch (Vapnik 1991). Arguments as in `Method`."""

    def __init__(self, make_learner: Callable[[], Learner], loss: LossFunction, train: TrainSet) -> None:
        super().__init__(make_learner, loss, train)
        self.learner = make_learner()

    def step(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.learner(batch.images)
        loss = self.loss(logits, batch.labels).mean()
        self.learner.update(loss)
        return {"loss": loss.detach(), "predicted": logits.detach().argmax(dim=1)}

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)
