"""JoCoR: two networks share a joint loss with an agreement term and train on the images with small joint loss."""

from torch import Tensor

from labelnoise.arguments.ranges import Fraction, checked
from labelnoise.losses.base import log_probs
from labelnoise.methods.co_teaching import CoTeaching, ForgetRate
from labelnoise.training.method import Setup


def divergence(logits: Tensor, other: Tensor) -> Tensor:
    """KL(p || q) + KL(q || p) of the two softmax distributions. Shapes: (B, C), (B, C) -> (B,), in nats."""
    mine, theirs = log_probs(logits), log_probs(other)
    return ((mine.exp() - theirs.exp()) * (mine - theirs)).sum(dim=1)


class JoCoR(CoTeaching):
    """Trains on the small-loss images of (1 - lam) (l(z1, y) + l(z2, y)) + lam (KL(p1||p2) + KL(p2||p1)).

    Both networks train on the same images. Each has its own optimizer, which is equivalent to the paper's single one,
    except that gradients are clipped per network. The dropped share follows co-teaching's schedule.

    Args:
        forget_rate, ramp: as in `CoTeaching`.
        lam: weight of the agreement term relative to the two losses, 0 to 1.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Wei, Feng, Chen, An 2020, arXiv:2003.02752, equations 1 to 4 and algorithm 1.
    """

    @checked
    def __init__(self, setup: Setup, forget_rate: ForgetRate, ramp: Fraction, lam: Fraction) -> None:
        super().__init__(setup, forget_rate, ramp)
        self.lam = lam

    def joint(self, logits: Tensor, other: Tensor, labels: Tensor) -> Tensor:
        """The joint loss of each image. Shapes: (B, C), (B, C), (B,) -> (B,)."""
        given = self.loss(logits, labels) + self.loss(other, labels)
        return (1 - self.lam) * given + self.lam * divergence(logits, other)

    def losses(self, logits: list[Tensor], labels: Tensor) -> list[Tensor]:
        """The joint loss twice, each time with the gradient of one network only."""
        first, second = logits
        return [self.joint(first, second.detach(), labels), self.joint(first.detach(), second, labels)]
