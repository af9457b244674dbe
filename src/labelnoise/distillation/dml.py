"""Deep mutual learning: two networks teach each other from the start."""

from torch import Tensor

from labelnoise.arguments.ranges import NonNegative, checked
from labelnoise.losses.base import log_probs
from labelnoise.training.learner import Learners
from labelnoise.training.method import Feed, Judgement, Method, Predict, Setup, StepResult


def divergence_from(logits: Tensor, peer: Tensor) -> Tensor:
    """KL(p' || p), with p' the peer's prediction. Shapes: (B, C), (B, C) -> (B,), in nats."""
    mine, theirs = log_probs(logits), log_probs(peer)
    return (theirs.exp() * (theirs - mine)).sum(dim=1)


class DML(Method):
    """Each of two networks minimises loss(z, y) + weight KL(p' || p), with the other one's prediction p' held fixed.

    Both see the same view of an image and take their steps at the same time. The predictions are the first network's;
    the other one is evaluated apart. The judgement is the mean of what both last predicted for an image in training.

    Memory: (N, C) floats.

    Args:
        weight: >= 0; at 0 the networks are trained independently.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Zhang, Xiang, Hospedales, Lu 2018 (CVPR), arXiv:1706.00384, equations 3 to 7; steps at the same time as in
        the released code, where the paper's algorithm 1 takes them in turn. Under label noise: Sarfraz, Arani, Zonooz
        2020, arXiv:2007.01922.
    """

    belief: Tensor

    @checked
    def __init__(self, setup: Setup, weight: NonNegative) -> None:
        super().__init__(setup)
        self.weight = weight
        self.both = Learners(setup.make_learner() for _ in range(2))
        classes = setup.train.num_classes
        self.remember("belief", (classes,), 1 / classes)

    def train_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        logits = [learner(batch.images) for learner in self.both]
        of_peer = [self.weight * divergence_from(logits[k], logits[1 - k].detach()).mean() for k in (0, 1)]
        losses = [self.loss(logits[k], batch.labels).mean() + of_peer[k] for k in (0, 1)]
        for learner, loss in zip(self.both, losses, strict=True):
            learner.update(loss)
        first, second = (log_probs(z.detach()).exp() for z in logits)
        self.belief[batch.index] = ((first + second) / 2).to(self.belief.dtype)
        metrics = {"teacher_loss": of_peer[0].detach()}
        return StepResult(losses[0].detach(), batch.index, first.argmax(dim=1), metrics=metrics)

    def predict(self, images: Tensor) -> Tensor:
        return self.both[0](images)

    def apart(self) -> dict[str, Predict]:
        return {"peer": self.both[1]}

    def judgement(self) -> Judgement:
        return Judgement.of_target(self.belief, self.train_set.labels)
