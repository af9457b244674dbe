"""Attention transfer: the student looks where the teacher looks."""

from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import NonNegative, PositiveFraction, checked
from labelnoise.distillation.teaching import Layers, Size, TaughtByLayers
from labelnoise.training.learner import MakeNetwork
from labelnoise.training.method import Setup


def attention(activations: Tensor) -> Tensor:
    """The sum of squares over the channels, scaled to length 1. Shapes: (B, channels, H, W) -> (B, H W)."""
    return F.normalize(activations.square().mean(dim=1).flatten(1))


def attention_distance(taught: dict[Size, Tensor], own: dict[Size, Tensor]) -> Tensor:
    """The mean squared difference of the attention maps of both networks, summed over the resolutions that both have.

    Shapes: (B, channels, H, W) each -> 0-d.
    Raises:
        ValueError: they have none in common.
    """
    both = [size for size in own if size in taught]
    if not both:
        raise ValueError("method=kd_at: needs feature maps of one size in network and method.teacher; there are none")
    values = [(attention(own[size]) - attention(taught[size])).square().mean() for size in both]
    return sum(values[1:], values[0])


class AttentionTransfer(TaughtByLayers):
    """The student minimises loss(z, y) + weight sum_l mean((q_l / |q_l| - q'_l / |q'_l|)^2).

    q_l is the sum of squares, over the channels, of the student's last activations of resolution l, q' the teacher's.

    Args:
        first, teacher: as in `Taught`.
        weight: >= 0.
    Raises:
        ValueError: a hyper-parameter out of range; before the first step, networks without maps of the same size.
    Source: Zagoruyko, Komodakis 2017 (ICLR), arXiv:1612.03928, equation 2; square and mean as in the released code.
        Under label noise: Sarfraz, Arani, Zonooz 2020, arXiv:2007.01922, whose values are not known.
    Differs: the authors choose the layers; here it is the last activation of each resolution.
    """

    @checked
    def __init__(self, setup: Setup, first: PositiveFraction, teacher: MakeNetwork | None, weight: NonNegative) -> None:
        super().__init__(setup, first, teacher)
        self.weight = weight

    def distance(self, taught: Layers, own: Layers) -> Tensor:
        return self.weight * attention_distance(taught.maps, own.maps)
