"""MLTP: a step on one batch should also lower the loss on another, through the gradient of a look ahead."""

from torch import Tensor

from labelnoise.arguments.ranges import NonNegative, Positive, checked
from labelnoise.training.method import Feed, Method, Setup, StepResult


class MLTP(Method):
    """Two batches are two tasks: the loss on the first, and the second one's after a virtual step on the first,

        L(theta; first) + weight L(theta - step eta grad L(theta; first); second),

    with eta the learning rate, and its whole gradient, second derivatives included. It needs no trusted images, and
    takes any loss. There are as many steps as in plain training: the second batches come from an order of their own,
    and each image is in both places once an epoch. The second batch leaves no trace in running statistics.

    Args:
        weight: of the second loss, >= 0; at 0 this is plain training.
        step: length of the virtual step, in learning rates, > 0.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Deng, Zhang 2020, arXiv:2002.12455. Reconstruction: the sum of both losses is the paper's; that the second
        batch has an order of its own, `weight` and `step` are ours.
    """

    @checked
    def __init__(self, setup: Setup, weight: NonNegative, step: Positive) -> None:
        super().__init__(setup)
        self.weight, self.length = weight, step
        self.learner = setup.make_learner()

    def feeds(self) -> list[Feed]:
        """Every image once, each batch with another one from an order of its own; the last batches may be smaller."""
        orders = zip(self.every_image("train"), self.train_set.order(self.clock.batch_size), strict=True)
        return [Feed(feed.step, {**feed.index, "second": index}) for feed, index in orders]

    def train_step(self, feed: Feed) -> StepResult:
        first, second = (self.train_set.batch(feed.index[role]) for role in ("train", "second"))
        logits = self.learner(first.images)
        loss = self.loss(logits, first.labels).mean()
        after = self.ahead(loss, second.images, second.labels)
        both = loss + self.weight * after
        self.learner.update(both)
        metrics = {"second_loss": after.detach()}
        return StepResult(both.detach(), first.index, logits.detach().argmax(dim=1), metrics=metrics)

    def ahead(self, loss: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of other images after a virtual step on `loss`: 0-d, with its graph.

        Shapes: 0-d, (B, channels, H, W), (B,).
        """
        rate = self.length * self.learner.optimizer.param_groups[0]["lr"]
        return self.loss(self.learner(images, self.learner.lookahead(loss, rate=rate)), labels).mean()

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)
