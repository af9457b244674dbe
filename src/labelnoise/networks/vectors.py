"""Networks for feature vectors, which take images as vectors of their pixels: a linear classifier, and one with hidden
layers."""

from typing import Annotated

from annotated_types import Ge
from torch import nn

from labelnoise.arguments.ranges import checked
from labelnoise.networks.base import Network


def linear(num_classes: int, channels: int, size: int) -> Network:
    """Logits W x + b. Shapes: (B, channels) for size 1, or (B, channels, size, size) -> (B, num_classes)."""
    return Network(nn.Flatten(), nn.Linear(channels * size * size, num_classes))


@checked
def mlp(
    num_classes: int, channels: int, size: int, width: Annotated[int, Ge(1)], depth: Annotated[int, Ge(1)]
) -> Network:
    """`depth` hidden layers of `width` units, each with batch normalisation and ReLU. Shapes: as `linear`."""
    body, inputs = nn.Sequential(nn.Flatten()), channels * size * size
    for _ in range(depth):
        body.extend([nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()])
        inputs = width
    return Network(body, nn.Linear(inputs, num_classes))
