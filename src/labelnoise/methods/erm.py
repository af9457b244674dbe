"""Empirical risk minimisation: one network trained on the mean loss, the usual method for robust losses."""

from torch import Tensor

from labelnoise.data.train_set import Batch
from labelnoise.losses.base import at_least_single
from labelnoise.training.criterion import PROVIDED, Criterion, Outputs
from labelnoise.training.method import Feed, Method, Setup, StepResult


class ERM(Method):
    """Minimise the mean loss over each batch (Vapnik 1991).

    A method that changes only the value of each image overrides `objective`.
    """

    provides = PROVIDED

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.criterion = Criterion(setup)
        self.learner = setup.make_learner(extra_outputs=self.criterion.extra_outputs)

    def objective(self, outputs: Outputs, batch: Batch) -> Tensor:
        """The value to minimise for each image (B,)."""
        return self.criterion.values(outputs, batch)

    def train_step(self, feed: Feed) -> StepResult:
        return self.learn(self.train_set.batch(feed.index["train"]))

    def learn(self, batch: Batch) -> StepResult:
        """A step on the mean of the objective over a batch, towards its labels."""
        outputs = self.criterion.outputs(self.learner, batch)
        loss = self.criterion.mean(self.objective(outputs, batch), outputs, batch)
        self.learner.update(loss)
        return StepResult(loss.detach(), batch.index, predicted=self._classes(outputs.logits.detach()).argmax(dim=1))

    def predict(self, images: Tensor) -> Tensor:
        return self._classes(self.learner(images))

    def abstention(self, images: Tensor) -> Tensor | None:
        """The probability of the extra output that some losses need."""
        if not self.criterion.extra_outputs:
            return None
        return at_least_single(self.learner(images)).softmax(dim=1)[:, -1]

    def _classes(self, logits: Tensor) -> Tensor:
        """The logits without the extra output that some losses need."""
        return logits[:, : self.train_set.num_classes]
