"""Meta soft label generation: each image's soft label is learned by looking ahead to a few trusted images."""

from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import Fraction, NonNegative, Positive, checked
from labelnoise.losses.base import log_probs
from labelnoise.meta_learning.looking_ahead import LookingAhead
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.method import Feed, Judgement, Setup, StepResult

FLOOR = 1e-10  # of a soft label in its logarithm, as released


def divergence(logs: Tensor, label_logits: Tensor) -> Tensor:
    """KL(p || q) of the predictions from the soft labels q = softmax(label_logits), the mean over images and classes.

    Shapes: log p (B, C), (B, C) -> 0-d, in nats.
    """
    return (logs.exp() * (logs - (label_logits.softmax(dim=1) + FLOOR).log())).mean()


class MSLG(LookingAhead):
    """Each image has logits s, which start as `confidence` at its label; softmax(s) is its soft label.

    First the network trains on the given labels with cross-entropy. After that, in each step:

        ahead = theta - alpha grad KL(p || softmax(s))
        s <- s - beta d CE(trusted images; ahead) / d s
        the network's update on KL(p || softmax(s)) + gamma H(p).

    KL and the entropy H are means over images and classes, as released; so alpha and the learning rate are smaller by
    the number of classes than with a mean over images. A soft label's step is that of a mean over the batch: `beta`
    depends on its size.

    Args:
        alpha: of the virtual step, which has neither momentum nor decay.
        beta: of the soft labels' steps.
        gamma: weight of the entropy, >= 0.
        warm_up: of the run; 44 of 120 epochs in the released code.
        confidence: of the soft labels at first, > 0.
    Raises:
        ValueError: a hyper-parameter out of range, no trusted images, or a loss other than cross-entropy.
    Source: Algan, Ulusoy 2020, arXiv:2007.05836, equations 4 to 11, and the released code.
    Differs: batches are drawn in a new order in every epoch, where the released loader keeps one; trusted images are
        cut from the training set, where the released ones are images of the test set, and leave no trace in running
        statistics, where the released code's do.
    """

    label_logits: Tensor

    @checked
    def __init__(
        self, setup: Setup, alpha: Positive, beta: Positive, gamma: NonNegative, warm_up: Fraction, confidence: Positive
    ) -> None:
        super().__init__(setup, "mslg")
        require_cross_entropy(setup, "method=mslg")
        self.alpha, self.beta, self.gamma, self.warm_up = alpha, beta, gamma, warm_up
        classes = setup.train.num_classes
        self.remember("label_logits", (classes,), confidence * F.one_hot(setup.train.labels, classes))

    def feeds(self) -> list[Feed]:
        return self.beside_trusted("meta") if self.clock.stage(self.warm_up) else self.every_image("train")

    def train_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        logits = self.learner(batch.images)
        loss = self.loss(logits, batch.labels).mean()
        self.learner.update(loss)
        return StepResult(loss.detach(), batch.index, logits.detach().argmax(dim=1), target=batch.labels)

    def meta_step(self, feed: Feed) -> StepResult:
        index = feed.index["train"]
        images = self.train_set.view(index)
        logits = self.learner(images)
        slope, trusted_loss = self.look_ahead(feed, images, logits, self.label_logits[index])
        logs = log_probs(logits)
        moved = self.label_logits[index] - self.beta * slope
        self.label_logits[index] = moved
        entropy = -(logs.exp() * logs).mean()
        loss = divergence(logs, moved) + self.gamma * entropy
        self.learner.update(loss)
        metrics = {"trusted_loss": trusted_loss}
        return StepResult(
            loss.detach(), index, logs.detach().argmax(dim=1), target=moved.argmax(dim=1), metrics=metrics
        )

    def look_ahead(self, feed: Feed, images: Tensor, logits: Tensor, label_logits: Tensor) -> tuple[Tensor, Tensor]:
        """How the trusted images' loss after a virtual step changes with the labels' logits, and that loss.

        Shapes: (B, channels, H, W), (B, C), (B, C) -> (B, C), 0-d.
        """
        loss = lambda z, given: divergence(log_probs(z), given)  # noqa: E731
        return self.slope(feed, images, logits, label_logits, loss, self.alpha)

    def judgement(self) -> Judgement:
        """The soft labels."""
        return Judgement.of_target(self.label_logits.softmax(dim=1), self.train_set.labels)
