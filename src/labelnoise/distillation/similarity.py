"""Similarity-preserving distillation: images that are alike for the teacher are to be alike for the student."""

from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import NonNegative, PositiveFraction, checked
from labelnoise.distillation.teaching import Layers, TaughtByLayers
from labelnoise.training.learner import MakeNetwork
from labelnoise.training.method import Setup


def similarities(activations: Tensor) -> Tensor:
    """The inner products of a batch's images, each row scaled to length 1. Shapes: (B, ...) -> (B, B)."""
    flat = activations.flatten(1)
    return F.normalize(flat @ flat.T)


def similarity_distance(taught: Tensor, own: Tensor) -> Tensor:
    """The mean squared difference of both networks' similarities. Shapes: (B, ...), (B, ...) -> 0-d."""
    return (similarities(taught) - similarities(own)).square().mean()


class SimilarityPreserving(TaughtByLayers):
    """The student minimises loss(z, y) + weight |G - G'|^2 / B^2.

    G are the inner products of the images' last feature maps in the student, with rows of length 1; G' the teacher's.

    Args:
        first, teacher: as in `Taught`.
        weight: >= 0.
    Raises:
        ValueError: a hyper-parameter out of range; before the first step, a network without feature maps.
    Source: Tung, Mori 2019 (ICCV), arXiv:1907.09682, equations 1 to 4, on the last layer with maps. Under label noise:
        Sarfraz, Arani, Zonooz 2020, arXiv:2007.01922, whose values are not known.
    """

    @checked
    def __init__(self, setup: Setup, first: PositiveFraction, teacher: MakeNetwork | None, weight: NonNegative) -> None:
        super().__init__(setup, first, teacher)
        self.weight = weight

    def distance(self, taught: Layers, own: Layers) -> Tensor:
        return self.weight * similarity_distance(last_map(taught), last_map(own))


def last_map(outputs: Layers) -> Tensor:
    """The map of the last resolution.

    Raises:
        ValueError: the network has none.
    """
    if not outputs.maps:
        raise ValueError("method=kd_sp: needs feature maps in network and method.teacher; one of them has none")
    return list(outputs.maps.values())[-1]
