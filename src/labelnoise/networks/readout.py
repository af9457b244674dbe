"""A method's own way from a network to the logits of the classes, where its last layer alone does not give them.

A readout is saved with the network's weights (`experiment.saved_network`), so that its predictions are the method's.
"""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise.losses.base import at_least_single


class Readout(nn.Module, ABC):
    """A network and what makes its predictions: images (B, channels, H, W) -> logits of the classes (B, C).

    Args:
        network: as it was configured; its weights are those that are saved.
    """

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def features(self, images: Tensor) -> Tensor:
        """The network's penultimate features (B, D)."""
        network: Any = self.network
        return network.features(images)

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What rebuilds it around the network, as plain data: its `name` and its arguments."""


def cosines(features: Tensor, weight: Tensor) -> Tensor:
    """The cosine of each image's features with each class's weights. Shapes: (B, D), (C, D) -> (B, C), in [-1, 1]."""
    features = at_least_single(features)
    return (F.normalize(features, dim=1) @ F.normalize(weight.to(features.dtype), dim=1).T).clamp(-1, 1)


class Cosine(Readout):
    """`scale` times the cosines of features and weights; the last layer's bias is not used.

    Args:
        network: with `features(images)` and a linear last layer.
        scale: > 0.
    Raises:
        ValueError: it has none.
    """

    def __init__(self, network: nn.Module, scale: float) -> None:
        super().__init__(network)
        self.scale = scale

    def of_features(self, features: Tensor) -> Tensor:
        """Logits of penultimate features. Shapes: (B, D) -> (B, C)."""
        return self.scale * cosines(features, last_layer(self.network).weight)

    def forward(self, images: Tensor) -> Tensor:
        return self.of_features(self.features(images))

    def facts(self) -> dict[str, Any]:
        return {"name": "cosine", "scale": self.scale}


def last_layer(network: nn.Module) -> nn.Linear:
    """The layer from features to logits: `head`, or what timm calls the classifier.

    Raises:
        ValueError: there is none that is linear, or no `features(images)` before it.
    """
    find: Any = getattr(getattr(network, "model", None), "get_classifier", None)
    head = find() if find else getattr(network, "head", None)
    if not isinstance(head, nn.Linear) or not callable(getattr(network, "features", None)):
        raise ValueError("network: must have features(images) -> (B, D) and `head`, a torch.nn.Linear")
    return head
