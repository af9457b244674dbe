"""Relational distillation: distances and angles between the images' features are to be as in the teacher."""

import torch
from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import NonNegative, PositiveFraction, checked
from labelnoise.distillation.teaching import Layers, TaughtByLayers
from labelnoise.training.learner import MakeNetwork
from labelnoise.training.method import Setup


def distances(features: Tensor) -> Tensor:
    """Between all pairs of images, relative to the mean over pairs that differ. Shapes: (B, D) -> (B, B)."""
    lengths = torch.linalg.vector_norm(_differences(features), dim=2)
    mean = lengths.sum() / (lengths > 0).sum().clamp_min(1)
    return lengths / mean.clamp_min(torch.finfo(lengths.dtype).tiny)


def angles(features: Tensor) -> Tensor:
    """The cosine of the angle at image i between images j and k. Shapes: (B, D) -> (B, B, B)."""
    directions = F.normalize(_differences(features), dim=2)
    return directions @ directions.transpose(1, 2)


def _differences(features: Tensor) -> Tensor:
    return features[None] - features[:, None]


class Relational(TaughtByLayers):
    """The student minimises loss(z, y) + distance_weight D + angle_weight A.

    D is the mean Huber loss between the student's and the teacher's distances of all pairs of a batch's images, each
    relative to the network's mean distance; A the same of the angles of all triplets. Both are of the penultimate
    features, and do not change when these are rotated, shifted or scaled.

    Memory: a step has B^2 (D + B) floats more, several times.

    Args:
        first, teacher: as in `Taught`.
        distance_weight, angle_weight: >= 0.
    Raises:
        ValueError: a hyper-parameter out of range.
    Source: Park, Kim, Lu, Cho 2019 (CVPR), arXiv:1904.05068, equations 4 to 9. Under label noise: Sarfraz, Arani,
        Zonooz 2020, arXiv:2007.01922, whose values are not known.
    """

    @checked
    def __init__(
        self,
        setup: Setup,
        first: PositiveFraction,
        teacher: MakeNetwork | None,
        distance_weight: NonNegative,
        angle_weight: NonNegative,
    ) -> None:
        super().__init__(setup, first, teacher)
        self.distance_weight, self.angle_weight = distance_weight, angle_weight

    def distance(self, taught: Layers, own: Layers) -> Tensor:
        far = F.smooth_l1_loss(distances(own.features), distances(taught.features))
        turned = F.smooth_l1_loss(angles(own.features), angles(taught.features))
        return self.distance_weight * far + self.angle_weight * turned
